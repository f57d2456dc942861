"""Runs to report on: one of captions that mean harm, one of pages with boxes."""

from __future__ import annotations

from pathlib import Path

from tests.curate.runs import done, pair, picture, write_pairs

SCRIPT = "</p></script><script>window.harmed=1</script><img src=x onerror='window.harmed=2'>"
BIDI = "safe \u202egnp.exe\u202c and \u2066isolated\u2069 \x00\x07 end"
LONG = "word " * 20_000
STYLE = "'\"><style>*{display:none}</style><base href='http://127.0.0.1:9/'>"
CYRILLIC = "A chair in the style of Чехов"


def captions(folder: Path) -> Path:
    """A run with kept and dropped rows of every kind, some of them hostile."""
    rows = [pair(n) for n in range(20)]
    rows += [
        pair(20, TEXT=SCRIPT, URL="javascript:alert(1)"),
        pair(21, TEXT=BIDI, URL="https://a.example/\u202e<script>window.harmed=3</script>"),
        pair(22, TEXT=STYLE),
        pair(23, TEXT=LONG),
        pair(24, TEXT=LONG[:90_000]),
        pair(25, TEXT=f"{CYRILLIC} 25"),
        pair(26, WIDTH=100, HEIGHT=90, image=picture(26, 100, 90)),
        pair(27, similarity=0.1),
        pair(28, image=b"<html>not found</html>"),
        pair(29, image=picture(29)[:-500]),
        pair(30, TEXT=pair(0)["TEXT"], URL=pair(0)["URL"], image=picture(0)),
    ]
    source = write_pairs(folder / "rows.parquet", rows)
    settings = ("clean=[]", 'rules.text_has_other_script.allow="\u202e\u202c\u2066\u2069\\u0000\\u0007"')
    done(
        *("run", "laion", "--input", source, "--out", folder / "out", "--workers", 0),
        *("--set", "rules.text_too_long.max_chars=95000"),
        *(part for one in settings for part in ("--set", one)),
    )
    return folder / "out"


def pages(folder: Path) -> Path:
    """A run over the sample's PDFs: lines with quads, some of them turned."""
    done("run", "pdf", "--out", folder / "out", "--workers", 0)
    return folder / "out"
