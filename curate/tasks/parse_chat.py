"""Parse dialogues from the text that a dialect's chat template makes of them; ambiguous texts are refused."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import NamedTuple

from curate.tasks.chat import LEARNT
from curate.tasks.dialect import Dialect
from curate.tasks.formats import QWEN_VL
from curate.tasks.grammar import Image, Phrase, grammar_of
from curate.tasks.row_faults import control_token
from curate.tasks.turns import BOX, IMAGE, PLACEHOLDER


class Spoken(NamedTuple):
    """A dialogue that was parsed."""

    messages: list[tuple[str, str]]  # role and content; in a user's, `<image>` stands for the next image
    paths: list[str | None]  # of each image, in order; None where the text shows none
    regions: list[
        Phrase
    ]  # for each `<bbox>` of the messages, in pixels of its image (`curate.tasks.dialogue_places.shown_in`)


def parse_dialogue(
    text: str, dialect: Dialect = QWEN_VL, sizes: Sequence[tuple[int, int]] | None = None
) -> Spoken:
    """The inverse of the chat template for one dialogue, in time linear in the text.

    `text` is a whole dialogue, or a shard's `prompt` and `target` together: the end of the last answer may be missing.
    A system turn that the dialect adds by default is left out. A system turn that the dialect moves into the first
    question (Gemma-3) stays there. White space that the template removes beside an image is not restored.

    With `sizes` (width and height in pixels of each image) boxes are read too: each becomes `<bbox>`, and its phrase is
    put between `<ref>` and `</ref>` if the dialect marks phrases. Without `sizes`, boxes in marks are an error, and
    others (`[1, 2, 3, 4]`) are text.

    Raises:
        ValueError: the text is not a dialogue in this dialect, or is ambiguous.
    """
    reader = _DialogueReader(text.removeprefix(dialect.start), dialect)
    messages = reader.messages()
    contents = _Contents(dialect, sizes)
    made = [(role, contents.read(said, role == "user")) for role, said in messages]
    if made and made[0] == ("system", dialect.chat.default_system):
        del made[0]
    return Spoken(made, contents.paths, contents.regions)


class _DialogueReader:
    """Splits a text into turns, from front to back."""

    def __init__(self, text: str, dialect: Dialect) -> None:
        self._text, self._at, self._dialect = text, 0, dialect
        chat = dialect.chat
        turns = {"user": chat.user, "assistant": chat.assistant}
        turns |= {} if chat.system_in_user or not chat.system else {"system": chat.system}
        self._frames = {role: _frame(template) for role, template in turns.items()}

    def messages(self) -> list[tuple[str, str]]:
        """Role and content of each turn; images are left as they are written."""
        found: list[tuple[str, str]] = []
        user, assistant = self._frames["user"], self._frames["assistant"]
        if "system" in self._frames and (self._dialect.chat.default_system or not self._begins(user[0])):
            before, behind = self._frames["system"]
            self._expect(before)
            found.append(("system", self._until(behind + user[0])))
            self._at -= len(user[0])
        while self._at < len(self._text) or not found:
            self._expect(user[0])
            between = user[1] + assistant[0]
            asked = self._until(between)
            answer = self._answer(assistant[1])
            if between in answer:
                raise ValueError(f"what is asked and answered can be read in two ways: {answer[:80]!r}")
            found += [("user", asked), ("assistant", answer)]
        return found

    def _answer(self, behind: str) -> str:
        """The text up to the end of an answer; the end may be missing after the last answer."""
        end = self._text.find(behind, self._at)
        if end < 0:
            end, behind = len(self._text), ""
        found, self._at = self._text[self._at : end], end + len(behind)
        return found

    def _begins(self, literal: str) -> bool:
        return self._text.startswith(literal, self._at)

    def _expect(self, literal: str) -> None:
        if not self._begins(literal):
            raise ValueError(f"expected {literal!r}, found {self._text[self._at : self._at + 80]!r}")
        self._at += len(literal)

    def _until(self, literal: str) -> str:
        end = self._text.find(literal, self._at)
        if end < 0:
            raise ValueError(f"{literal!r} is missing behind {self._text[self._at : self._at + 80]!r}")
        found, self._at = self._text[self._at : end], end + len(literal)
        return found


def _frame(template: str) -> tuple[str, str]:
    """The texts before and after a turn's content."""
    before, _, behind = LEARNT.sub(r"\1", template).partition("{content}")
    return before, behind


class _Contents:
    """Reads the turns' texts one after another, and collects the paths of images and the regions in them."""

    def __init__(self, dialect: Dialect, sizes: Sequence[tuple[int, int]] | None) -> None:
        self._dialect, self._sizes = dialect, sizes
        self._shown = _shown(dialect)
        self._grammar = grammar_of(dialect) if sizes is not None and dialect.places.box else None
        self.paths: list[str | None] = []
        self.regions: list[Phrase] = []
        self._waits = False  # whether the current turn shows its first image only later

    def read(self, said: str, asks: bool) -> str:
        """A turn's text with `<image>` for each image, if it is a user's (`asks`), and `<bbox>` for each box."""
        if not asks:
            return self._located(said)
        pieces, done = list[str](), 0
        self._waits = self._shown.search(said) is not None
        for match in self._shown.finditer(said):
            if match["number"] is not None and int(match["number"]) != len(self.paths) + 1:
                raise ValueError(f"image {len(self.paths) + 1} of the dialogue is numbered {match['number']}")
            pieces += [self._located(said[done : match.start()]), IMAGE]
            self.paths.append(match["path"])
            self._waits = False
            done = match.end()
        return "".join([*pieces, self._located(said[done:])])

    def _located(self, said: str) -> str:
        """A text without images, with `<bbox>` for each box; adds the regions."""
        if self._grammar is None:
            return _plain(said, self._dialect)
        pieces, done = list[str](), 0
        for match in self._grammar.span.finditer(said):
            pieces += [_plain(said[done : match.start()], self._dialect), self._span(match)]
            done = match.end()
        return "".join([*pieces, _plain(said[done:], self._dialect)])

    def _span(self, match: re.Match[str]) -> str:
        grammar, named = self._grammar, match.groupdict()
        assert grammar is not None
        if named.get("list") is None:
            phrase, spots = named.get("phrase"), named.get("its") or named["alone"] or ""
            quads = self._image().spots(spots, grammar) if spots else []
            self.regions += [Phrase(phrase, None, None, quad) for quad in quads]
            return ("" if phrase is None else f"<ref>{phrase}</ref>") + BOX * len(quads)
        made, last = "", None
        for entry in grammar.entry.finditer(named["list"]):
            label = grammar.refuse_control_token(json.loads(entry["label"]))
            self.regions.append(Phrase(label, None, None, self._image().spots(entry["place"], grammar)[0]))
            made += BOX if label == last else f"<ref>{label}</ref>{BOX}"
            last = label
        return made

    def _image(self) -> Image:
        """The image that was shown last, or the first of this turn."""
        number = len(self.paths) - 1 + self._waits
        if self._sizes is None or not 0 <= number < len(self._sizes):
            raise ValueError("a box stands where no image, or none of a known size, was shown")
        return Image(self._dialect, *self._sizes[number])


def _shown(dialect: Dialect) -> re.Pattern[str]:
    """An image in a user's turn, as the dialect writes it; its pads may be several."""
    marks = dialect.image
    before, after = re.escape(marks.before), re.escape(marks.after + marks.behind)
    number = (
        re.escape(marks.numbered).replace(re.escape("{n}"), r"(?P<number>\d{1,6})") or "(?P<number>(?!))?"
    )
    pads = f"(?:{re.escape(marks.pad)})+"
    inside = rf"(?:{pads}|(?P<path>[^<>\n]{{1,4096}}))" if marks.shows_path else f"{pads}(?P<path>(?!))?"
    return re.compile(number + before + inside + after)


def _plain(said: str, dialect: Dialect) -> str:
    """Check that a text holds no control token or placeholder; returns the text.

    Raises:
        ValueError: it holds one.
    """
    if found := re.search(f"{control_token(dialect)}|{PLACEHOLDER}", said):
        raise ValueError(f"{found[0]!r} stands where there is only text: {said[:80]!r}")
    return said
