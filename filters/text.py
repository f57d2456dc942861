"""Rules on the clean text: paper A.1, steps 4 to 6, and A.4. A null text stays null.

Most captions are plain ASCII, so the rules about characters look at the others only. The classes in
_ranges.py say which code points are English, Chinese or emoji; codepoints.py says why.
"""

from __future__ import annotations

from itertools import pairwise

import pyarrow as pa
import pyarrow.compute as pc

from filters._ranges import CHARSET, EMOJI_PRESENTATION, PICTOGRAPHIC, REGIONAL_INDICATOR, SKIN_TONE
from filters.row_kernels import found, keep_unless, named
from filters.rule import rule

EMOJI = (
    rf"(?:[{EMOJI_PRESENTATION}]"  # shown as a picture of itself; skin tones are among them
    rf"|[{PICTOGRAPHIC}](?:\x{{FE0F}}|[{SKIN_TONE}])"  # a sign that is asked to be one
    rf"|[{REGIONAL_INDICATOR}]{{2}}"  # a flag
    r"|[0-9#*]\x{FE0F}?\x{20E3})"  # a keycap
)
# An emoji with all that joins it into one picture: other signs, selectors, skin tones, tags.
EMOJI_SEQUENCE = (
    rf"(?:[{PICTOGRAPHIC}]\x{{FE0F}}?[{SKIN_TONE}]?\x{{200D}})*{EMOJI}"
    rf"(?:\x{{FE0F}}|[{SKIN_TONE}]|[\x{{E0020}}-\x{{E007F}}]|\x{{200D}}[{PICTOGRAPHIC}])*"
)
LATIN_EXTENDED = r"[\x{100}-\x{24F}]"
PRIVATE_USE = r"[\x{E000}-\x{F8FF}\x{F0000}-\x{FFFFD}\x{100000}-\x{10FFFD}]"
REPLACEMENT = "\ufffd"

# What the academic sets put into captions in place of words, for a manifest's `tags`.
ACADEMIC_TAGS = (
    "<PERSON>",  # CC12M: names of persons, replaced by its makers
    "<person>",
    "<unk>",  # an out-of-vocabulary word of a tokenised caption
    "<UNK>",
    "[UNK]",
    "<|endoftext|>",  # Qwen's own control strings: a tokenizer would take them for what they say
    "<|im_start|>",
    "<|im_end|>",
    "<img>",
    "</img>",
    "<ref>",
    "</ref>",
    "<box>",
    "</box>",
    "<quad>",
    "</quad>",
)


def describe_other_script(text: pa.StringArray, *, allow: str = "") -> pa.StringArray:
    """The first character that is neither English nor Chinese: `U+0416 Ж`."""
    return named(found(without_emoji(text), foreign(allow)))


@rule("text_has_other_script", describe=describe_other_script)
def text_has_other_script(text: pa.StringArray, *, allow: str = "") -> pa.BooleanArray:
    """Keep texts whose every character is English, Chinese or one of `allow` (A.1 step 4); see docs/rules.md.

    Emoji are judged by `text_has_emoji`: this rule ignores exactly what that rule would drop, with the joiners and
    selectors that belong to it.
    """
    pattern = foreign(allow)
    return keep_unless(text, lambda rest: suspects(rest, pattern))


def suspects(text: pa.StringArray, pattern: str) -> pa.BooleanArray:
    """True where `pattern` matches in a text after its emoji were removed."""
    candidate = pc.match_substring_regex(text, pattern)
    again = pc.match_substring_regex(without_emoji(text.filter(candidate)), pattern)
    return pc.replace_with_mask(candidate, candidate, again)


@rule("text_has_emoji", describe=lambda text: named(found(text, EMOJI_SEQUENCE)))
def text_has_emoji(text: pa.StringArray) -> pa.BooleanArray:
    """Keep texts without emoji (A.1 step 5): pictures, signs with U+FE0F, flags, keycaps, skin tones.

    Signs that are shown as text unless U+FE0F follows (©, ™, ❤) are no emoji, nor are #1 and 3*4.
    """
    return keep_unless(text, lambda rest: pc.match_substring_regex(rest, EMOJI))


def describe_length(text: pa.StringArray, **_: int) -> pa.StringArray:
    """The number of code points: `chars=3`."""
    return pc.binary_join_element_wise("chars=", pc.cast(pc.utf8_length(text), pa.string()), "")


@rule("text_too_short", describe=describe_length)
def text_too_short(text: pa.StringArray, *, min_chars: int) -> pa.BooleanArray:
    """Keep texts of at least `min_chars` code points; white space around them does not count (A.1, A.4).

    Raises:
        ValueError: `min_chars` is negative.
    """
    if min_chars < 0:
        raise ValueError(f"min_chars must be at least 0, not {min_chars}")
    return longer(pc.utf8_trim_whitespace(text), min_chars - 1)


@rule("text_too_long", describe=describe_length)
def text_too_long(text: pa.StringArray, *, max_chars: int) -> pa.BooleanArray:
    """Keep texts of at most `max_chars` code points (A.1 step 6, A.4).

    Raises:
        ValueError: `max_chars` is below 1, so that nothing is kept.
    """
    if max_chars < 1:
        raise ValueError(f"max_chars must be at least 1, not {max_chars}")
    return pc.invert(longer(text, max_chars))


def describe_tag(text: pa.StringArray, *, tags: list[str]) -> pa.StringArray:
    """The first tag found."""
    return found(text, any_of(tags))


@rule("text_has_special_tag", describe=describe_tag)
def text_has_special_tag(text: pa.StringArray, *, tags: list[str]) -> pa.BooleanArray:
    """Keep texts in which none of `tags` occurs, letter by letter (A.1, academic sets; see ACADEMIC_TAGS)."""
    return pc.invert(pc.match_substring_regex(text, any_of(tags)))


@rule("text_has_latin_extended", describe=lambda text: named(found(text, LATIN_EXTENDED)))
def text_has_latin_extended(text: pa.StringArray) -> pa.BooleanArray:
    """Keep texts without characters of the blocks Latin Extended-A and -B, U+0100 to U+024F (A.4)."""
    return keep_unless(text, lambda rest: pc.match_substring_regex(rest, LATIN_EXTENDED))


@rule("text_has_private_use", describe=lambda text: named(found(text, PRIVATE_USE)))
def text_has_private_use(text: pa.StringArray) -> pa.BooleanArray:
    """Keep texts without private use characters, in all three private use areas (A.4)."""
    return keep_unless(text, lambda rest: pc.match_substring_regex(rest, PRIVATE_USE))


def lost(text: pa.StringArray, *, max_share: float = 0.0) -> pa.StringArray:
    """How many of the text's characters are U+FFFD: `U+FFFD, 2 of 40`."""
    count = pc.cast(pc.count_substring(text, REPLACEMENT), pa.string())
    return pc.binary_join_element_wise(
        "U+FFFD, ", count, " of ", pc.cast(pc.utf8_length(text), pa.string()), ""
    )


@rule("text_has_replacement_character", describe=lost)
def text_has_replacement_character(text: pa.StringArray, *, max_share: float = 0.0) -> pa.BooleanArray:
    """Keep texts where at most `max_share` of the characters are U+FFFD, which stands for one lost in decoding.

    Raises:
        ValueError: `max_share` is no share.
    """
    if not 0 <= max_share <= 1:
        raise ValueError(f"max_share is a share, from 0 to 1, not {max_share:g}")
    return keep_unless(text, lambda rest: mostly_lost(rest, max_share))


def mostly_lost(text: pa.StringArray, share: float) -> pa.BooleanArray:
    """True for texts with more than `share` of U+FFFD among their characters."""
    lost = pc.cast(pc.count_substring(text, REPLACEMENT), pa.float64())
    return pc.greater(lost, pc.multiply(pc.cast(pc.utf8_length(text), pa.float64()), share))


def longer(text: pa.StringArray, chars: int) -> pa.BooleanArray:
    """True for texts of more than `chars` code points, which are counted only where the number of bytes is no proof."""
    size = pc.binary_length(text)
    surely = pc.greater(size, 4 * chars)  # of UTF-8, a code point takes 4 bytes at most
    unsure = pc.and_(pc.greater(size, chars), pc.invert(surely))
    return pc.replace_with_mask(surely, unsure, pc.greater(pc.utf8_length(text.filter(unsure)), chars))


def without_emoji(text: pa.StringArray) -> pa.StringArray:
    """The texts without their emoji."""
    return pc.replace_substring_regex(text, EMOJI_SEQUENCE, "")


def foreign(allow: str) -> str:
    """RE2 for one character that is neither in the charset nor in `allow`."""
    extra = "".join(rf"\x{{{ord(character):X}}}" for character in allow)
    return f"[^{CHARSET}{extra}]"


def any_of(tags: list[str]) -> str:
    """RE2 for any of the literal `tags`.

    Raises: ValueError for an empty list or tag, which would match nothing or everything.
    """
    if not tags or "" in tags:
        raise ValueError(f"tags must be non-empty strings: {tags!r}")
    return "|".join("".join(rf"\x{{{ord(character):X}}}" for character in tag) for tag in tags)


@rule("text_repeats_itself", describe=lambda text, *, max_share: repeated_share(text, describe=True))
def text_repeats_itself(text: pa.StringArray, *, max_share: float) -> pa.BooleanArray:
    """Keep texts in which at most `max_share` (0 to 1) of the pairs of neighbouring words repeat an earlier pair.

    Words are separated by white space and compared without case; in a text without white space, characters count as
    words.

    Raises:
        ValueError: `max_share` is no share.
    """
    if not 0 <= max_share <= 1:
        raise ValueError(f"max_share is a share, from 0 to 1, not {max_share:g}")
    return pc.less_equal(repeated_share(text), max_share)


def repeated_share(text: pa.StringArray, *, describe: bool = False) -> pa.Array:
    """The share of pairs of neighbouring words that came before in the same text (N), or `repeated=0.40`."""
    shares = [None if one is None else _repeated(one) for one in text.to_pylist()]
    if describe:
        return pa.array([None if share is None else f"repeated={share:.2f}" for share in shares], pa.string())
    return pa.array(shares, pa.float64())


def _repeated(text: str) -> float:
    words = text.casefold().split()
    words = words if len(words) > 1 else list(text)
    pairs = list(pairwise(words))
    return 1 - len(set(pairs)) / len(pairs) if pairs else 0.0
