"""The text to write on pages: files are read once, and words are taken from them one after the other.

A word is a piece of text within which a line may not be broken: a run between spaces, or one ideograph with the
punctuation that belongs to it (a simplified UAX #14).
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import json
import lzma
import unicodedata
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq
import regex

from synthdog import wiki
from synthdog.errors import ItemError, ResourceError
from synthdog.settings import Corpus

SUFFIXES = (".txt", ".jsonl", ".parquet", ".xml")  # .xml: a wiki's dump
OPENERS: dict[str, Callable[[Path], Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
EXTRACTED = regex.compile(r"wiki_\d+")  # WikiExtractor's files: text between <doc> marks, or JSON lines
MARK = regex.compile(r"</?doc\b[^>]*>\s*")
MAX_LINE_BYTES = 1 << 24
IDEOGRAPH = r"\p{Han}\p{Hiragana}\p{Katakana}〇"
OPENING = r"（《〈「『【〔〖“‘［｛"
CLOSING = r"，。、；：！？）》〉」』】〕〗”’］｝…—～·％"
LONGEST = 60  # characters; a longer run is cut into words of this length
WORD = regex.compile(rf"(\s*)([{OPENING}]*[{IDEOGRAPH}][{CLOSING}]*|[^\s{IDEOGRAPH}]{{1,{LONGEST}}})")
# Characters that need shaping, join others, run right to left, or are invisible: they cannot be painted one by one
UNPAINTABLE = regex.compile(
    r"[\p{M}\p{C}\p{Arabic}\p{Hebrew}\p{Syriac}\p{Thaana}\p{NKo}\p{Devanagari}\p{Bengali}\p{Gurmukhi}\p{Gujarati}"
    r"\p{Oriya}\p{Tamil}\p{Telugu}\p{Kannada}\p{Malayalam}\p{Sinhala}\p{Thai}\p{Lao}\p{Tibetan}\p{Myanmar}\p{Khmer}"
    r"\p{Mongolian}]"
)
IDEOGRAPHIC = regex.compile(f"[{IDEOGRAPH}]")
LEAST_CHARS = 100
MAX_UNPAINTED = 1000


@dataclass(frozen=True)
class CorpusWord:
    """A word, and whether there was a space before it."""

    text: str
    spaced: bool


class Text:
    """A corpus in memory, addressed by code points; it holds only characters that can be painted one by one."""

    def __init__(self, text: str):
        self._text = text

    def __len__(self) -> int:
        return len(self._text)

    def sample(self) -> set[str]:
        """The characters at some 10,000 positions spread over the text, without spaces."""
        return set(self._text[:: max(len(self._text) // 10_000, 1)]) - {" "}

    def bytes(self) -> int:
        """The size of the text as UTF-8."""
        return len(self._text.encode())

    def sha256(self) -> str:
        """The SHA-256 of the text as UTF-8, in hex digits."""
        return hashlib.sha256(self._text.encode()).hexdigest()

    def window(self, at: int, length: int) -> str:
        """`length` characters from `at` on; fewer at the end."""
        return self._text[at : at + length]

    def word(self, at: int) -> tuple[CorpusWord, int]:
        """The word at the boundary `at`, and the boundary behind it; after the last word, the first one follows."""
        match = WORD.match(self._text, at) or WORD.match(self._text, 0)
        assert match is not None
        return CorpusWord(match[2], bool(match[1])), match.end()

    def boundary(self, at: int) -> int:
        """The first position from `at` on where a word begins."""
        match = WORD.match(self._text, at)
        if match is None or match[1] or at == 0 or IDEOGRAPHIC.match(self._text, at):
            return at
        return match.end()


class CorpusReader:
    """Reads a text word by word from position `at` on, without words that a face cannot paint (`lacks`)."""

    def __init__(self, text: Text, at: int, lacks: Callable[[str], object]):
        self._text, self._lacks = text, lacks
        self.at = text.boundary(at)
        self._ahead: tuple[CorpusWord, int] | None = None

    def peek(self) -> CorpusWord:
        """The next word, which is not consumed.

        Raises:
            ItemError: the face paints none of the next MAX_UNPAINTED words.
        """
        for _ in range(MAX_UNPAINTED):
            self._ahead = self._ahead or self._text.word(self.at)
            if not self._lacks(self._ahead[0].text):
                return self._ahead[0]
            self.take()
        raise ItemError("layout_failed", f"{MAX_UNPAINTED} words in a row that the font cannot paint")

    def take(self, chars: int = 0) -> None:
        """Consume the next word, or its first `chars` characters (0: all): the rest is then the next word."""
        word, self.at = self._ahead or self._text.word(self.at)
        rest = CorpusWord(word.text[chars:], False) if chars else None
        self._ahead = (rest, self.at) if rest else None


def load(settings: Corpus, language: str) -> Text:
    """Read a corpus: in NFC, with one space for any run of white space, and without words that cannot be painted.

    `language` chooses the built-in corpus if the settings name no files.

    Raises:
        ResourceError: a file is missing, binary or lacks the column, or there are fewer than LEAST_CHARS characters.
    """
    files = [file for path in settings.paths for file in _files(path)]
    if not settings.paths:
        files = [Path(str(resources.files("synthdog") / "corpus" / f"{language}.txt"))]
    share = max(settings.max_chars // max(len(files), 1), LEAST_CHARS)
    text = " ".join(clean(_head(file, settings.column, share)) for file in files).strip()
    if len(text) < LEAST_CHARS:
        where = ", ".join(settings.paths)
        raise ResourceError(
            f"the corpus ({where}) holds {len(text)} usable characters: {LEAST_CHARS} are needed"
        )
    if not any(char.isalnum() for char in text):
        raise ResourceError(f"the corpus ({', '.join(settings.paths)}) holds no letter or digit")
    return Text(text)


def clean(paragraphs: Sequence[str]) -> str:
    """Join paragraphs into one text, with a space between two unless both sides are ideographs (or their marks)."""
    parts = [" ".join(unicodedata.normalize("NFC", paragraph).split()) for paragraph in paragraphs]
    text = "\n".join(part for part in parts if part)
    text = regex.sub(rf"(?<=[{IDEOGRAPH}{CLOSING}])\n(?=[{IDEOGRAPH}{OPENING}])", "", text).replace("\n", " ")
    if not UNPAINTABLE.search(text):
        return text
    kept = (m[0] for m in WORD.finditer(text) if not UNPAINTABLE.search(m[2]))
    return "".join(kept).strip()


def _files(path: str) -> list[Path]:
    at = Path(path)
    if not at.exists():
        raise ResourceError(f"corpus {path!r} does not exist")
    files = [at] if at.is_file() else sorted(file for file in at.rglob("*") if _is_corpus(file))
    if not files:
        raise ResourceError(f"corpus folder {path!r} holds no {', '.join(SUFFIXES)} or wiki_00 file")
    return files


def _is_corpus(file: Path) -> bool:
    name = _plain_name(file)
    return file.is_file() and bool(Path(name).suffix in SUFFIXES or EXTRACTED.fullmatch(name))


def _plain_name(file: Path) -> str:
    """The file's name in lower case, without the suffix of a compression."""
    name = file.name.lower()
    return Path(name).stem if Path(name).suffix in OPENERS else name


def _head(file: Path, column: str, max_chars: int) -> list[str]:
    """Paragraphs from the file's beginning, up to `max_chars` characters in all."""
    taken: list[str] = []
    room = max_chars
    for paragraph in _paragraphs(file, column):
        taken.append(paragraph[:room])
        room -= len(taken[-1])
        if room <= 0:
            break
    return taken


def _paragraphs(file: Path, column: str) -> Iterator[str]:
    try:
        if file.suffix.lower() == ".parquet":
            yield from _of_parquet(file, column)
            return
        with OPENERS.get(file.suffix.lower(), _open)(file) as stream:
            if _plain_name(file).endswith(".xml"):
                yield from wiki.paragraphs(stream)
                return
            yield from _of_lines(stream, file, column if _holds_json(stream, file) else None)
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as problem:
        raise ResourceError(f"corpus {str(file)!r} cannot be read: {problem}") from None


def _open(file: Path) -> Any:
    return file.open("rb")


def _holds_json(stream: Any, file: Path) -> bool:
    """Whether the file's lines are JSON, by its name, or else by its first byte."""
    suffix = Path(_plain_name(file)).suffix
    return suffix == ".jsonl" or (suffix != ".txt" and stream.peek(1)[:1] == b"{")


def _of_lines(stream: IO[bytes], file: Path, column: str | None) -> Iterator[str]:
    """Yield the texts of a file's lines; broken lines are left out, unless more than half of the lines are broken."""
    good, broken = 0, []
    while line := stream.readline(MAX_LINE_BYTES):
        if b"\0" in line:
            raise ResourceError(f"corpus {str(file)!r} is binary, not UTF-8 text")
        text = _text(line, column) if line.strip() else ""
        if text is None:
            broken.append(line[:60])
        else:
            good += 1
            yield text
    if len(broken) > good:
        wanted = "UTF-8 text" if column is None else f"JSON with text in {column!r}"
        count = f"{len(broken)} of {len(broken) + good} lines"
        raise ResourceError(f"corpus {str(file)!r}: {count} are not {wanted}, the first {broken[0]!r}")


def _text(line: bytes, column: str | None) -> str | None:
    """The line's text; None where it is not UTF-8 or not JSON with text in the column."""
    try:
        text = line.decode("utf-8-sig")
        row = {None: MARK.sub("", text)} if column is None else json.loads(text)
    except (ValueError, RecursionError):
        return None
    found = row.get(column) if isinstance(row, dict) else None
    return found if isinstance(found, str) else None


def _of_parquet(file: Path, column: str) -> Iterator[str]:
    table = pq.ParquetFile(file)
    schema = table.schema_arrow
    if column not in schema.names or not _is_text(schema.field(column).type):
        has = ", ".join(f"{field.name}: {field.type}" for field in schema)
        raise ResourceError(f"corpus {str(file)!r} has no text column {column!r} (it has: {has})")
    for batch in table.iter_batches(1024, columns=[column]):
        for value in batch.column(0):
            with suppress(UnicodeDecodeError):  # Parquet's strings are not always UTF-8
                yield value.as_py() or ""


def _is_text(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))
