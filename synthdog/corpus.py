"""Text to write: files read once, and words taken from them one after the other.

A word is what a line may not be broken in: a run between spaces, or one ideograph with the punctuation that
clings to it (as UAX #14 has it, in short).
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import regex

from synthdog.errors import ItemError, ResourceError
from synthdog.settings import Corpus

SUFFIXES = (".txt", ".jsonl", ".parquet")
MAX_LINE_BYTES = 1 << 24
IDEOGRAPH = r"\p{Han}\p{Hiragana}\p{Katakana}〇"
OPENING = r"（《〈「『【〔〖“‘［｛"
CLOSING = r"，。、；：！？）》〉」』】〕〗”’］｝…—～·％"
LONGEST = 60  # characters; a longer run is cut, so that no input makes endless words
WORD = regex.compile(rf"(\s*)([{OPENING}]*[{IDEOGRAPH}][{CLOSING}]*|[^\s{IDEOGRAPH}]{{1,{LONGEST}}})")
# What needs shaping, joins, runs right to left, or shows nothing: it cannot be painted a character at a time
UNPAINTABLE = regex.compile(
    r"[\p{M}\p{C}\p{Arabic}\p{Hebrew}\p{Syriac}\p{Thaana}\p{NKo}\p{Devanagari}\p{Bengali}\p{Gurmukhi}\p{Gujarati}"
    r"\p{Oriya}\p{Tamil}\p{Telugu}\p{Kannada}\p{Malayalam}\p{Sinhala}\p{Thai}\p{Lao}\p{Tibetan}\p{Myanmar}\p{Khmer}"
    r"\p{Mongolian}]"
)
IDEOGRAPHIC = regex.compile(f"[{IDEOGRAPH}]")
LEAST_CHARS = 100
MAX_UNPAINTED = 1000


@dataclass(frozen=True)
class Word:
    """A word, and whether a space stood before it."""

    text: str
    spaced: bool


class Text:
    """A corpus held in memory (code points), all of it paintable by some face."""

    def __init__(self, text: str):
        self._text = text

    def __len__(self) -> int:
        return len(self._text)

    def sample(self) -> set[str]:
        """The characters of some 10,000 places spread over the text, spaces left out."""
        return set(self._text[:: max(len(self._text) // 10_000, 1)]) - {" "}

    def sha256(self) -> str:
        """Of the text as UTF-8."""
        return hashlib.sha256(self._text.encode()).hexdigest()

    def window(self, at: int, length: int) -> str:
        """`length` characters from `at` on; fewer at the end."""
        return self._text[at : at + length]

    def word(self, at: int) -> tuple[Word, int]:
        """The word at a boundary, and the boundary behind it; behind the last comes the first."""
        match = WORD.match(self._text, at) or WORD.match(self._text, 0)
        assert match is not None
        return Word(match[2], bool(match[1])), match.end()

    def boundary(self, at: int) -> int:
        """The first place from `at` on where a word begins."""
        match = WORD.match(self._text, at)
        if match is None or match[1] or at == 0 or IDEOGRAPHIC.match(self._text, at):
            return at
        return match.end()


class Reader:
    """Goes through a text from a place on, leaving out the words that a face cannot paint."""

    def __init__(self, text: Text, at: int, lacks: Callable[[str], object]):
        self._text, self._lacks = text, lacks
        self.at = text.boundary(at)
        self._ahead: tuple[Word, int] | None = None

    def peek(self) -> Word:
        """The word that comes next.

        Raises:
            ItemError: the face paints none of the next MAX_UNPAINTED words.
        """
        for _ in range(MAX_UNPAINTED):
            self._ahead = self._ahead or self._text.word(self.at)
            if not self._lacks(self._ahead[0].text):
                return self._ahead[0]
            self.take()
        raise ItemError("layout_failed", f"{MAX_UNPAINTED} words in a row that the font cannot paint")

    def take(self) -> None:
        """Go past the word that comes next."""
        self.at = (self._ahead or self._text.word(self.at))[1]
        self._ahead = None


def load(settings: Corpus, language: str) -> Text:
    """The corpus's text: NFC, one space for any run of white space, words that cannot be painted left out.

    Raises:
        ResourceError: a file is missing, binary, lacks the column, or there is next to no text in all.
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
    return Text(text)


def clean(paragraphs: Sequence[str]) -> str:
    """Paragraphs as one text; between ideographs no space is put."""
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
    files = [at] if at.is_file() else sorted(f for f in at.rglob("*") if f.suffix in SUFFIXES)
    if not files:
        raise ResourceError(f"corpus folder {path!r} holds no {', '.join(SUFFIXES)} file")
    return files


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
        if file.suffix == ".parquet":
            yield from _of_parquet(file, column)
        else:
            yield from _of_lines(file, column if file.suffix == ".jsonl" else None)
    except (OSError, pa.ArrowInvalid) as problem:
        raise ResourceError(f"corpus {str(file)!r} cannot be read: {problem}") from None


def _of_lines(file: Path, column: str | None) -> Iterator[str]:
    """The texts of a file's lines; broken lines are left out as long as they are not the most."""
    good, broken = 0, []
    with file.open("rb") as stream:
        while line := stream.readline(MAX_LINE_BYTES):
            if b"\0" in line:
                raise ResourceError(f"corpus {str(file)!r} is binary, not text")
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
    """The line's text; null where it is not UTF-8 or not JSON with text in the column."""
    try:
        text = line.decode("utf-8-sig")
        row = {None: text} if column is None else json.loads(text)
    except (ValueError, RecursionError):
        return None
    found = row.get(column) if isinstance(row, dict) else None
    return found if isinstance(found, str) else None


def _of_parquet(file: Path, column: str) -> Iterator[str]:
    table = pq.ParquetFile(file)
    names = table.schema_arrow.names
    if column not in names or not _is_text(table.schema_arrow.field(column).type):
        raise ResourceError(
            f"corpus {str(file)!r} has no text column {column!r} (it has: {', '.join(names)})"
        )
    for batch in table.iter_batches(1024, columns=[column]):
        for value in batch.column(0):
            with suppress(UnicodeDecodeError):  # Parquet's strings are not always UTF-8
                yield value.as_py() or ""


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
