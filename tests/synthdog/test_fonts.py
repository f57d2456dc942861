from __future__ import annotations

import subprocess

import numpy as np
import pytest

from synthdog import fonts
from synthdog.errors import ResourceError

INSTALLED = [found for found in fonts.report() if found.path]
NOT_A_CHARACTER = "\ufffe"


def test_there_are_41_english_and_11_chinese_typefaces():
    listed = fonts.typefaces()
    assert {language: len(faces) for language, faces in listed.items()} == {"en": 41, "zh": 11}
    for faces in listed.values():
        assert len({(face.family, face.style) for face in faces}) == len(faces)
        assert all(face.licence and face.package.startswith("fonts-") for face in faces)


def test_one_command_installs_what_is_missing():
    faces = fonts.typefaces()["zh"]
    command = fonts.install_command(faces)
    assert command.startswith("apt-get install -y fonts-")
    assert command.count("fonts-noto-cjk") == 1


@pytest.mark.parametrize("found", INSTALLED, ids=lambda found: found.typeface.family)
def test_what_a_face_claims_to_paint_is_not_its_notdef_box(found):
    sized = fonts.Face(found.path, found.index).at(40, bold=False)
    letters = "，。永国天上人之不" if found.language == "zh" else "AegQ08&,"
    painted = set(letters) - sized.lacks(letters)
    assert len(painted) >= 5
    notdef = sized.glyph(NOT_A_CHARACTER).ink
    for char in painted:
        ink = sized.glyph(char).ink
        assert ink.shape != notdef.shape or not np.array_equal(ink, notdef), char


@pytest.mark.parametrize("found", INSTALLED[:3], ids=lambda found: found.typeface.family)
def test_characters_without_a_glyph_are_lacking(found):
    face = fonts.Face(found.path, found.index)
    strange = NOT_A_CHARACTER + "\U0003134a" + "\U0010ffff" + "\u0f00"
    assert face.lacks(strange) == set(strange)
    assert face.lacks("abc") == set()


def test_a_line_is_as_high_as_it_was_asked_to_be():
    face = fonts.Face(INSTALLED[0].path, INSTALLED[0].index)
    sized = face.at(50, bold=False)
    assert abs(sized.ascent + sized.descent - 50) <= 2


def test_bold_strokes_leave_more_ink():
    face = fonts.Face(INSTALLED[0].path, INSTALLED[0].index)
    thin, bold = (face.at(50, bold=bold).glyph("H").ink for bold in (False, True))
    assert bold.astype(int).sum() > thin.astype(int).sum()


def test_every_face_of_a_collection_is_used():
    collection = next((found.path for found in INSTALLED if found.path.endswith(".ttc")), None)
    if collection is None:
        pytest.skip("no .ttc typeface is installed")
    faces = fonts.faces([collection], "zh")
    assert [face.index for face in faces] == list(range(len(faces)))
    assert len(faces) > 1


def test_a_broken_font_is_an_error_of_one_line(tmp_path):
    (tmp_path / "broken.ttf").write_bytes(b"\0\1\0\0" + b"junk" * 40)
    with pytest.raises(ResourceError, match=r"broken\.ttf' cannot be read"):
        fonts.faces([str(tmp_path)], "en")


def test_a_folder_without_fonts_is_an_error(tmp_path):
    with pytest.raises(ResourceError, match=r"holds no \.ttf"):
        fonts.faces([str(tmp_path)], "en")


def test_without_fontconfig_the_way_out_is_said(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    fonts._installed.cache_clear()
    with pytest.raises(ResourceError, match="apt-get install -y fontconfig"):
        fonts.report()
    fonts._installed.cache_clear()


def test_fontconfig_lists_what_is_found():
    listed = subprocess.run(["fc-list", "--format", r"%{file}\n"], capture_output=True, text=True, check=True)
    assert {found.path for found in INSTALLED} <= set(listed.stdout.split("\n"))
