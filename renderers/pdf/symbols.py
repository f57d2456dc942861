"""Fonts of symbols, such as ZapfDingbats and Wingdings: the characters that their glyphs show.

An encoding for letters, or none, gives the boxes of a form as `n`, `o`, `4`. The glyph's name tells what is drawn,
else its code in the font's usual table. What neither tells has no known character: U+FFFD, never a letter.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from renderers.pdf import symbol_tables
from renderers.pdf.mupdf import mupdf, pymupdf
from renderers.pdf.pixels import EVERYWHERE

UNKNOWN = "\N{REPLACEMENT CHARACTER}"
FIRST_CODE = 32  # of the tables
MOST_ASCII = 0x7F
SYMBOL_AREA = 0xF000  # Private Use: where fonts of symbols have their codes
STYLE = re.compile(r"(regular|bold|italic|oblique|roman|light|medium|normal|mt|ps|std|neu|itc|bt|l|\d)*")
FAMILIES = {  # by the beginning of a font's name, which goes on with a style
    "zapfdingbats": symbol_tables.ZAPF,
    "itczapfdingbats": symbol_tables.ZAPF,
    "dingbats": symbol_tables.ZAPF,
    "monotypesorts": symbol_tables.ZAPF,
    "adobepi": symbol_tables.ZAPF,
    "d050000": symbol_tables.ZAPF,
    "symbol": symbol_tables.SYMBOL,
    "standardsymbols": symbol_tables.SYMBOL,
    "standardsym": symbol_tables.SYMBOL,
    "wingdings2": symbol_tables.WINGDINGS_2,
    "wingdings3": symbol_tables.WINGDINGS_3,
    "wingdings": symbol_tables.WINGDINGS,
    "webdings": symbol_tables.WEBDINGS,
    "cmex": symbol_tables.TEX_LARGE,
    "lmex": symbol_tables.TEX_LARGE,
    "lmmathextension": symbol_tables.TEX_LARGE,
}
OTHERS = re.compile(
    "dingbat|wingding|webding|ornament|marlett|mtextra|pictogram|fontawesome|glyphicon|materialicon"
)
LETTER_FACES = (
    "helv",
    "hebo",
    "heit",
    "hebi",
    "tiro",
    "tibo",
    "tiit",
    "tibi",
    "cour",
    "cobo",
    "coit",
    "cobi",
)
# Adobe's Private Use characters for the parts of large brackets, and for what looks like plain signs
ADOBE: dict[int, str] = dict(
    zip(
        [*range(0xF8E5, 0xF8FF), *range(0xF6D9, 0xF6DC)],
        "‾⏐⎯®©™⎛⎜⎝⎡⎢⎣⎧⎨⎩⎪⎮⎞⎟⎠⎤⎥⎦⎫⎬⎭©®™",
        strict=True,
    )
)


PARTS = re.compile(f"[{''.join(map(chr, ADOBE))}]")
MOVED = {
    161: 0,
    173: 10,
}  # where TeX's old drivers put codes that are controls, and from which code on they go on


class TextItem(ctypes.Structure):
    """MuPDF's `fz_text_item`: its binding gives the first one of a span alone."""

    _fields_ = (
        ("x", ctypes.c_float),
        ("y", ctypes.c_float),
        ("advance", ctypes.c_float),
        ("gid", ctypes.c_int),
        ("ucs", ctypes.c_int),
        ("cid", ctypes.c_int),
    )


class Glyphs(NamedTuple):
    """A font of symbols: its table (None: it has no known one) and its MuPDF font."""

    table: str | None
    font: Any


def are_symbols(blocks: Iterable[Mapping[str, Any]]) -> bool:
    """True where some text among the blocks of a structured text's dictionary is in a font of symbols, or ADOBE's."""
    spans = [span for block in blocks for line in block.get("lines", ()) for span in line["spans"]]
    return any(map(is_symbolic, {span["font"] for span in spans})) or any(
        not span["text"].isascii() and PARTS.search(span["text"]) for span in spans
    )


@lru_cache(maxsize=1000)
def is_symbolic(font: str) -> bool:
    """True for the name of a font of symbols."""
    return table_of(font) is not None or bool(OTHERS.search(plain(font)))


def plain(font: str) -> str:
    """A font's name in small letters and digits, without the tag of a subset."""
    return re.sub("[^a-z0-9]", "", font[:200].rpartition("+")[2].lower())


@lru_cache(maxsize=1000)
def table_of(font: str) -> str | None:
    """The characters of a font's codes from FIRST_CODE, by the font's name."""
    name = plain(font)
    return next(
        (
            table
            for family, table in FAMILIES.items()
            if name.startswith(family) and STYLE.fullmatch(name, len(family))
        ),
        None,
    )


def name_symbols(display: pymupdf.DisplayList) -> bool:
    """Put right, in a display list, what its glyphs of fonts of symbols stand for; True if any were wrong."""
    device = Naming()
    mupdf.fz_run_display_list(display.this, device, mupdf.FzMatrix(), EVERYWHERE, mupdf.FzCookie())
    mupdf.fz_close_device(device)
    return device.changed


class Naming(mupdf.FzDevice2):  # type: ignore[misc]
    """A MuPDF device that puts right the characters of the texts that it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.changed = False
        for kind in ("fill_text", "stroke_text", "clip_text", "clip_stroke_text"):
            getattr(self, f"use_virtual_{kind}")()

    def fill_text(self, context: Any, text: Any, *_: Any) -> None:
        """A text that is painted, or clips."""
        span = text.head
        while span:
            self.changed |= renamed(span)
            span = span.next

    stroke_text = clip_text = clip_stroke_text = fill_text


def renamed(span: Any) -> bool:
    """Put right the characters of a span of MuPDF's text; True if any were not."""
    name = mupdf.ll_fz_font_name(span.font)
    if not span.len:
        return False
    if not is_symbolic(name):
        return sum(map(put_plain, items_of(span))) > 0
    font = mupdf.FzFont(mupdf.ll_fz_keep_font(span.font))
    signs: dict[tuple[int, int, int], int] = {}
    changed = False
    for item in items_of(span):
        key = item.gid, item.ucs, item.cid
        if item.gid < 0:  # the rest of a character that stands for several
            continue
        if key not in signs:
            signs[key] = ord(sign(Glyphs(table_of(name), font), *key))
        changed |= item.ucs != signs[key]
        item.ucs = signs[key]
    return changed


def put_plain(item: TextItem) -> bool:
    """Put a plain character in the place of one of ADOBE's; True where it was one."""
    if item.ucs in ADOBE:
        item.ucs = ord(ADOBE[item.ucs])
        return True
    return False


def items_of(span: Any) -> Sequence[TextItem]:
    """The characters of a span of MuPDF's text that has any.

    Raises:
        RuntimeError: they are laid out otherwise than TextItem says, as the first one shows.
    """
    items: Sequence[TextItem] = (TextItem * span.len).from_address(int(span.items.this))
    if (items[0].gid, items[0].ucs) != (span.items.gid, span.items.ucs):
        raise RuntimeError("MuPDF's texts are laid out otherwise than expected")
    return items


def sign(glyphs: Glyphs, gid: int, ucs: int, cid: int) -> str:
    """What a glyph of a font of symbols shows; `ucs` is what its code in the text, `cid`, is said to stand for."""
    name: str = mupdf.fz_get_glyph_name2(glyphs.font, gid)
    if glyphs.table is symbol_tables.ZAPF and name in zapf_names():
        return zapf_names()[name]
    named: int = mupdf.fz_unicode_from_glyph_name_strict(name)
    if glyphs.table is symbol_tables.SYMBOL and named > MOST_ASCII:  # letters' names come of an encoding
        return ADOBE.get(named, chr(named))
    said = chr(ucs) if 0 <= ucs < 0x110000 else UNKNOWN
    if glyphs.table is symbol_tables.TEX_LARGE and not drawn_by_letters(glyphs.font, gid, ucs):
        return tex_names().get(name) or tex_sign(cid, said)
    code = code_of(said)
    if code is None or glyphs.table is symbol_tables.TEX_LARGE or drawn_by_letters(glyphs.font, gid, ucs):
        return said
    if glyphs.table is None or gid == ucs == cid:  # equal: no more than a number was known of it
        return said if said.isspace() else UNKNOWN
    if said in glyphs.table and not said.isalnum():
        return said
    return glyphs.table[code - FIRST_CODE] if code >= FIRST_CODE else UNKNOWN


def tex_sign(code: int, said: str) -> str:
    """What a code of TeX's large signs shows: the text has it, where a font gives no names; else what is said."""
    start = max((start for start in MOVED if start <= code), default=code)
    code = code - start + MOVED.get(start, code)
    return symbol_tables.TEX_LARGE[code] if 0 <= code < len(symbol_tables.TEX_LARGE) else said


@lru_cache(maxsize=1)
def tex_names() -> dict[str, str]:
    """Characters by the names of cmex's glyphs."""
    names = (
        name.replace("*", side)
        for name in symbol_tables.TEX_NAMES.split()
        for side in (("left", "right") if "*" in name else ("",))
    )
    return dict(zip(names, symbol_tables.TEX_LARGE, strict=True))


def code_of(said: str) -> int | None:
    """The code behind a character that an encoding for letters, or none, gave; None for other characters."""
    if SYMBOL_AREA <= ord(said) < SYMBOL_AREA + 256:
        return ord(said) - SYMBOL_AREA
    encoded = said.encode("cp1252", "ignore")
    return encoded[0] if encoded else None


@lru_cache(maxsize=1)
def zapf_names() -> dict[str, str]:
    """Characters by the names of ZapfDingbats' glyphs."""
    signs = (char for char in symbol_tables.ZAPF if char not in (" ", UNKNOWN))
    return {f"a{number}": char for number, char in zip(symbol_tables.ZAPF_NAMES.split(), signs, strict=True)}


def drawn_by_letters(font: Any, gid: int, ucs: int) -> bool:
    """True where the font is not in the file, and MuPDF shows the letters of one of its own in its place."""
    wide = mupdf.fz_advance_glyph(font, gid, 0)
    return any(
        mupdf.fz_encode_character(face, ucs) == gid
        and abs(mupdf.fz_advance_glyph(face, gid, 0) - wide) < 1e-6
        for face in letter_faces()
    )


@lru_cache(maxsize=1)
def letter_faces() -> list[Any]:
    """MuPDF's own typefaces that stand in for others."""
    return [pymupdf.Font(name).this for name in LETTER_FACES]
