"""Loads tokenizers from files: tiktoken ranks, a `tokenizer.json`, a SentencePiece model; or Qwen's, which is included.

`qwen.tiktoken.xz` is the ranks file of Qwen and Qwen-VL as the Apache-2.0 package dashscope 2.0.2 gives it
out (dashscope/resources/qwen.tiktoken, © Alibaba Cloud), compressed; its SHA-256 is checked when it is read.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import lzma
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curate.errors import InputError, MachineError
from curate.plain_files import open_plain
from curate.tasks.dialect import Dialect
from curate.tasks.formats import QWEN_VL

QWEN = Path(__file__).with_name("qwen.tiktoken.xz")
QWEN_SHA256 = "b2b1b8dfb5cc5f024bafc373121c6aba3f66f9a5a0269e243470a1de16a33186"
# Qwen's own split of text into words, before byte pairs are merged
QWEN_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
MARKERS = ("<img>", "</img>", "<ref>", "</ref>", "<box>", "</box>", "<quad>", "</quad>")
IMAGE_PAD = "<imgpad>"
QWEN_SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    *(f"<|extra_{n}|>" for n in range(205)),
    *("<ref>", "</ref>", "<box>", "</box>", "<quad>", "</quad>", "<img>", "</img>", IMAGE_PAD),
)
ADDED = 1024  # the most tokens that a model may add after its vocabulary
END_TOKENS = ("<|endoftext|>", "</s>", "<|end_of_text|>", "<eos>", "<|im_end|>")


@dataclass(frozen=True)
class Tokenizer:
    """Turns text into token ids; `encode` takes a special token's name in a text for plain text."""

    kind: str
    sha256: str  # of the file
    size: int  # all ids are below it
    markers: dict[str, int]  # ids of the special tokens in the dialect's templates
    image_pad: int
    end: int
    encode: Callable[[list[str]], list[list[int]]]
    special: dict[str, int] = field(default_factory=dict)  # every token of the dialect that it has

    def split(self, text: str) -> list[str]:
        """Split a text of a dialect's template before and after each special and each added token."""
        return self._special_token.split(text)

    @functools.cached_property
    def _special_token(self) -> re.Pattern[str]:
        longest_first = sorted(self.special, key=len, reverse=True)
        return re.compile("(" + "|".join(map(re.escape, longest_first)) + ")")

    def describe(self) -> dict[str, Any]:
        """Return what a pack's metadata says of the tokenizer."""
        ids = {"markers": self.markers, "image_pad": self.image_pad, "end": self.end}
        return {"kind": self.kind, "sha256": self.sha256, "vocabulary": self.size, **ids}


@dataclass(frozen=True)
class Vocabulary:
    """The parts of a tokenizer that all three libraries provide."""

    kind: str
    size: int
    id_of: Callable[[str], int | None]
    encode: Callable[[list[str]], list[list[int]]]


def load(
    path: str = "",
    end_token: str = "",
    image_pad: str = IMAGE_PAD,
    dialect: Dialect = QWEN_VL,
    content: bytes | None = None,
) -> Tokenizer:
    """Load a tokenizer. The kind of file is recognised by its content.

    Args:
        path: the file; empty: Qwen's tokenizer, which is included.
        end_token: the token after a sample; empty: the first of the usual ones that the tokenizer has.
        image_pad: the token that stands for a piece of an image.
        dialect: the dialect whose tokens it must have.
        content: the file's content, if it was read already; None: it is read.

    Raises:
        InputError: the file cannot be read, is of no known kind, or lacks the tokens of the dialect.
        MachineError: the library that reads it is not installed.
    """
    name = path or "the built-in tokenizer"
    if not path and dialect.tokenizer != "qwen":
        raise InputError(
            f"dialect {dialect.name} needs its model's tokenizer: give the file with --tokenizer"
        )
    data = file_content(path) if content is None else content
    try:
        vocabulary = _vocabulary(data)
    except (ValueError, RuntimeError, lzma.LZMAError) as error:
        raise InputError(
            f"{name} is no tokenizer that can be read: {' '.join(str(error).split())[:200]}"
        ) from None
    original = dialect.name.partition(":")[0] == QWEN_VL.name
    known = _special(vocabulary, dialect)
    if original:  # Qwen-VL's dialect: the pad and end tokens of another tokenizer can be given as settings
        known |= {IMAGE_PAD: vocabulary.id_of(image_pad)}
    wanted = [*MARKERS, IMAGE_PAD] if original else needed(dialect)
    ends = [end_token] if end_token else list(END_TOKENS) if original else [dialect.end]
    there = [token for token in ends if known.get(token, vocabulary.id_of(token)) is not None]
    lacking = [image_pad if token == IMAGE_PAD else token for token in wanted if known.get(token) is None]
    lacking += [] if there else [end_token or " or ".join(ends)]
    if lacking:
        raise InputError(f"{name} lacks {', '.join(lacking)}: add them to it as special tokens")
    special = {token: number for token, number in known.items() if number is not None}
    end = special.get(there[0], vocabulary.id_of(there[0]))
    assert end is not None
    digest = hashlib.sha256(data).hexdigest()
    size = max(vocabulary.size, *(number + 1 for number in special.values()))
    markers = {token: special[token] for token in wanted if token != dialect.image.pad}
    return Tokenizer(
        vocabulary.kind, digest, size, markers, special[dialect.image.pad], end, vocabulary.encode, special
    )


def needed(dialect: Dialect) -> list[str]:
    """Return the special tokens that occur in a dialect's templates."""
    places, chat, marks = dialect.places, dialect.chat, dialect.image
    forms = [part for format in dialect.tasks.values() for part in format]
    forms += [*places.ref, places.box, places.quad, places.line, *places.boxes, dialect.start]
    forms += [chat.system, chat.user, chat.assistant, marks.before, marks.pad, marks.after]
    written = "\n".join(forms)
    return [token for token in dialect.tokens if token in written]


def _special(vocabulary: Vocabulary, dialect: Dialect) -> dict[str, int | None]:
    """Return the id of each of the dialect's tokens, the added ones too; None if the tokenizer lacks it.

    It is the vocabulary's id, or else the dialect's id if that is directly after the vocabulary. A ranks file has no
    special tokens, so the dialect's ids are used. For Qwen-VL's dialect the vocabulary's ids are always used.
    """
    found: dict[str, int | None] = {}
    for token, number in {**dialect.added_tokens, **dialect.tokens}.items():
        own = vocabulary.id_of(token)
        if dialect.name == QWEN_VL.name:
            found[token] = own
        elif vocabulary.kind == "tiktoken" or (own is None and 0 <= number - vocabulary.size < ADDED):
            found[token] = number
        else:
            found[token] = own
    return found


def file_content(path: str) -> bytes:
    """Read a tokenizer's file; with an empty path, that of Qwen's tokenizer.

    Raises:
        InputError: the file cannot be read.
    """
    if not path:
        return _qwen()
    try:
        with open_plain(Path(path)) as file:
            return file.read()
    except OSError as error:
        raise InputError(f"cannot read the tokenizer {path}: {error.strerror}") from None


@functools.cache
def _qwen() -> bytes:
    data = lzma.decompress(QWEN.read_bytes())
    if hashlib.sha256(data).hexdigest() != QWEN_SHA256:
        raise InputError(f"{QWEN.name} is damaged: install curate again")
    return data


@functools.lru_cache(maxsize=2)
def _vocabulary(data: bytes) -> Vocabulary:
    """Read the vocabulary in a file's bytes, whose kind is recognised by how they begin."""
    if data.lstrip()[:1] == b"{":
        return _from_json(data)
    first = data.split(b"\n", 1)[0].split()
    if len(first) == 2 and first[1].isdigit():
        return _from_ranks(data)
    return _from_sentencepiece(data)


def _from_ranks(data: bytes) -> Vocabulary:
    """Read a tiktoken ranks file: each line has a token in base64 and its rank. Qwen's special tokens come after it."""
    tiktoken = _library("tiktoken")
    lines = (line.split() for line in data.splitlines() if line)
    ranks = {base64.b64decode(token): int(rank) for token, rank in lines}
    special = {token: max(ranks.values()) + 1 + n for n, token in enumerate(QWEN_SPECIAL)}
    encoding = tiktoken.Encoding("qwen", pat_str=QWEN_WORDS, mergeable_ranks=ranks, special_tokens=special)

    def encode(texts: list[str]) -> list[list[int]]:
        normal = pc.utf8_normalize(
            pa.array(texts, pa.large_string()), form="NFC"
        ).to_pylist()  # as Qwen's tokenizer
        return encoding.encode_ordinary_batch(normal, num_threads=2)  # type: ignore[no-any-return]

    return Vocabulary("tiktoken", encoding.n_vocab, special.get, encode)


def _from_json(data: bytes) -> Vocabulary:
    """Read a `tokenizer.json` of Hugging Face's tokenizers."""
    library = _library("tokenizers")
    try:
        tokenizer = library.Tokenizer.from_str(data.decode())
    except Exception as error:  # the library raises bare Exception
        raise ValueError(error) from None
    tokenizer.encode_special_tokens = True  # special tokens in raw text are text
    tokenizer.no_truncation()
    tokenizer.no_padding()

    def encode(texts: list[str]) -> list[list[int]]:
        return [found.ids for found in tokenizer.encode_batch_fast(texts, add_special_tokens=False)]

    return Vocabulary("tokenizers", tokenizer.get_vocab_size(), tokenizer.token_to_id, encode)


def _from_sentencepiece(data: bytes) -> Vocabulary:
    """Read a SentencePiece model whose markers are user-defined symbols."""
    processor = _library("sentencepiece").SentencePieceProcessor()
    processor.LoadFromSerializedProto(data)

    def id_of(token: str) -> int | None:
        number: int = processor.PieceToId(token)
        return None if processor.IsUnknown(number) else number

    known = id_of("<ref>") is not None
    before, mark = ("<ref>", processor.PieceToId("<ref>")) if known else ("\n", processor.PieceToId("<0x0A>"))

    def encode(texts: Iterable[str]) -> list[list[int]]:
        # The library puts a space before every text; after a marker there is none. So each text is encoded
        # behind one, which is then cut off.
        found: list[list[int]] = processor.Encode([f"{before}{text}" for text in texts])
        return [ids[ids.index(mark) + 1 :] for ids in found]

    if id_of("<ref>") is not None and id_of("<ref>") not in processor.Encode("<ref>"):
        raise ValueError("its markers are not user-defined symbols")
    return Vocabulary("sentencepiece", processor.GetPieceSize(), id_of, encode)


def _library(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        raise MachineError(f"this tokenizer needs {name}: pip install {name}") from None
