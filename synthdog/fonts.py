"""Typefaces: which of them this machine has, which characters they cover, and their glyphs.

A character is painted when the cmap names a glyph other than .notdef and that glyph leaves ink. Metrics
and glyph boxes are px at the asked size, baseline origin, y down.
"""

from __future__ import annotations

import hashlib
import subprocess
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path

import numpy as np
from fontTools.ttLib import TTCollection, TTFont, TTLibError
from PIL import Image, ImageDraw, ImageFont

from synthdog.errors import ResourceError

SUFFIXES = (".ttf", ".otf", ".ttc", ".otc")
NOTDEF = ".notdef"
FC_LIST_TIMEOUT_S = 60
PLANES = 0x40000  # code points 0 to 3FFFF: all with letters


@dataclass(frozen=True)
class Typeface:
    """An entry of fonts.toml."""

    family: str
    style: str
    licence: str
    package: str


@dataclass(frozen=True)
class Found:
    """A typeface, and the file and index of its face; `path` is None where this machine lacks it."""

    typeface: Typeface
    language: str
    path: str | None
    index: int = 0


@dataclass(frozen=True)
class Glyph:
    """The ink of a character: 8 bit coverage, and where its top left lies from the pen (px)."""

    ink: np.ndarray
    left: int
    top: int


class Face:
    """One face of a font file, with its cmap read once."""

    def __init__(self, path: str, index: int = 0, name: str | None = None):
        self.path, self.index = path, index
        self.name = name or Path(path).stem
        self._mapped = _mapped(path, index)
        self._size_per_height = 100.0 / max(sum(self._font(100.0).getmetrics()), 1)

    def lacks(self, text: str) -> set[str]:
        """The characters of `text` that the cmap has no glyph for."""
        return {char for char in set(text) if ord(char) >= PLANES or not self._mapped[ord(char)]}

    def sha256(self) -> str:
        """The SHA-256 of the font file, in hex digits."""
        return hashlib.sha256(Path(self.path).read_bytes()).hexdigest()

    def bytes(self) -> int:
        """The size of the font file."""
        return Path(self.path).stat().st_size

    def at(self, line_height: float, bold: bool) -> SizedFace:
        """The face at the size whose ascent and descent together are `line_height` px."""
        return SizedFace(self, self._font(line_height * self._size_per_height), bold)

    def _font(self, size: float) -> ImageFont.FreeTypeFont:
        try:
            return ImageFont.truetype(self.path, size, index=self.index, layout_engine=ImageFont.Layout.BASIC)
        except OSError as problem:
            raise ResourceError(f"font {self.path!r} cannot be read: {problem}") from None


class SizedFace:
    """A face at one size; its glyphs are drawn once and kept as long as it lives."""

    def __init__(self, face: Face, font: ImageFont.FreeTypeFont, bold: bool):
        self._face, self._font = face, font
        self._stroke = int(bold)
        self.ascent, self.descent = font.getmetrics()
        self._glyphs: dict[str, Glyph] = {}
        self._advances: dict[str, float] = {}

    def lacks(self, text: str) -> set[str]:
        """The characters of `text` that are not painted: the cmap has no glyph, or that leaves no ink."""
        lacking = self._face.lacks(text)
        return lacking | {char for char in set(text) - lacking if not self.glyph(char).ink.size}

    def advance(self, char: str) -> float:
        """How far the pen moves after the character (px)."""
        if char not in self._advances:
            self._advances[char] = self._font.getlength(char)
        return self._advances[char]

    def glyph(self, char: str) -> Glyph:
        """The character's ink."""
        if char not in self._glyphs:
            self._glyphs[char] = self._draw(char)
        return self._glyphs[char]

    def _draw(self, char: str) -> Glyph:
        left, top, right, bottom = map(int, self._font.getbbox(char, anchor="ls", stroke_width=self._stroke))
        left, top, right, bottom = left - 1, top - 1, right + 1, bottom + 1
        canvas = Image.new("L", (right - left, bottom - top))
        ImageDraw.Draw(canvas).text(
            (-left, -top), char, fill=255, font=self._font, anchor="ls", stroke_width=self._stroke
        )
        inked = canvas.getbbox()
        if inked is None:
            return Glyph(np.zeros((0, 0), np.uint8), 0, 0)
        return Glyph(np.asarray(canvas.crop(inked)), left + inked[0], top + inked[1])


def report() -> list[Found]:
    """Every typeface of fonts.toml, in its order, with the file that this machine has of it."""
    installed = _installed()
    return [
        Found(face, language, *installed.get((face.family, face.style), (None, 0)))
        for language, faces in typefaces().items()
        for face in faces
    ]


def typefaces() -> dict[str, list[Typeface]]:
    """fonts.toml: language to typefaces."""
    table = tomllib.loads((resources.files("synthdog") / "fonts.toml").read_text("utf-8"))
    return {language: [Typeface(**entry) for entry in entries] for language, entries in table.items()}


def install_command(missing: Iterable[Typeface]) -> str:
    """The one command that installs Debian's packages of the typefaces."""
    return "apt-get install -y " + " ".join(sorted({face.package for face in missing}))


def faces(paths: Sequence[str], language: str) -> list[Face]:
    """The faces of font files and folders, or, without any, those of fonts.toml that are installed.

    Raises:
        ResourceError: a path is not a font or holds none, or none of the typefaces is installed.
    """
    if paths:
        return [face for path in paths for face in _given(path)]
    here = [found for found in report() if found.language == language]
    present = [Face(f.path, f.index, f.typeface.family) for f in here if f.path is not None]
    if not present:
        command = install_command(found.typeface for found in here)
        raise ResourceError(f"none of the {len(here)} typefaces for {language!r} is installed: {command}")
    return present


def _given(path: str) -> list[Face]:
    at = Path(path)
    if not at.exists():
        raise ResourceError(f"font path {path!r} does not exist")
    files = [at] if at.is_file() else sorted(f for f in at.rglob("*") if f.suffix.lower() in SUFFIXES)
    if not files:
        raise ResourceError(f"font folder {path!r} holds no {', '.join(SUFFIXES)} file")
    return [Face(str(file), index) for file in files for index in range(_face_count(file))]


def _face_count(path: Path) -> int:
    if path.suffix.lower() not in (".ttc", ".otc"):
        return 1
    try:
        return len(TTCollection(str(path), lazy=True).fonts)
    except (TTLibError, OSError, ValueError) as problem:
        raise ResourceError(f"font {str(path)!r} cannot be read: {problem}") from None


@lru_cache(maxsize=1)
def _installed() -> dict[tuple[str, str], tuple[str, int]]:
    """Family and style to file and face index, as fontconfig lists them; of several files the first."""
    form = r"%{file}\t%{index}\t%{family[0]}\t%{style[0]}\t%{variable}\n"
    try:
        listing = subprocess.run(
            ["fc-list", "--format", form],
            capture_output=True,
            text=True,
            timeout=FC_LIST_TIMEOUT_S,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError) as problem:
        raise ResourceError(
            f"fontconfig's fc-list does not run ({problem}): apt-get install -y fontconfig"
        ) from None
    found: dict[tuple[str, str], tuple[str, int]] = {}
    for line in sorted(listing.splitlines()):
        fields = line.split("\t")
        if len(fields) == 5 and fields[0].lower().endswith(SUFFIXES) and fields[4] != "True":
            found.setdefault((fields[2], fields[3]), (fields[0], int(fields[1])))
    return found


@lru_cache(maxsize=256)
def _mapped(path: str, index: int) -> np.ndarray:
    """Whether a face's cmap names a glyph for each code point (PLANES booleans)."""
    try:
        with TTFont(path, fontNumber=index, lazy=True) as font:
            # with these glyph names, fontTools does not read the font's own, which take 200 MB for CJK faces
            font.setGlyphOrder([NOTDEF, *map(str, range(1, font["maxp"].numGlyphs))])
            cmap = font.getBestCmap() or {}
    except (
        Exception
    ) as problem:  # fontTools lets struct, assertion and lookup errors of broken tables through
        raise ResourceError(f"font {path!r} cannot be read: {problem}") from None
    mapped = np.zeros(PLANES, bool)
    mapped[[point for point, name in cmap.items() if point < PLANES and name != NOTDEF]] = True
    return mapped
