from __future__ import annotations

from pathlib import Path

from synthdog import fonts

PAGE = Path(__file__).parents[2] / "docs" / "synthdog.md"


def test_the_page_gives_the_command_that_installs_every_typeface():
    every = [face for faces in fonts.typefaces().values() for face in faces]
    written = PAGE.read_text("utf-8").replace("\\\n", " ").split()
    assert set(fonts.install_command(every).split()) <= set(written)
