from __future__ import annotations

import pytest

from synthdog import Template, check, fonts
from synthdog.errors import ResourceError


def content(**changes):
    return {"document": {"content": changes}}


def test_the_defaults_are_ready_on_this_machine(template):
    template("en")
    assert check(None, "en") == []


def test_every_problem_is_listed(tmp_path):
    missing = str(tmp_path / "nowhere")
    settings = {
        "background": {"image": {"paths": [missing], "weights": [1]}},
        "document": {"content": {"text": {"paths": [missing]}, "font": {"paths": [missing]}}},
    }
    problems = check(settings, "en")
    assert len(problems) == 3
    assert all("does not exist" in problem and "\n" not in problem for problem in problems)


def test_an_unknown_setting_is_a_problem():
    assert check({"qualty": [50, 95]}, "en") == ["synthdog settings: Object contains unknown field `qualty`"]


def test_a_corpus_whose_characters_no_font_has_stops_the_run(tmp_path, template):
    template("en")
    (tmp_path / "yi.txt").write_text("ꀀꀁꀂꀃꀄꀅ ꀆꀇꀈꀉꀊꀋ " * 30)
    latin = next(found.path for found in fonts.report() if found.language == "en" and found.path)
    settings = content(text={"paths": [str(tmp_path / "yi.txt")]}, font={"paths": [latin]})
    with pytest.raises(ResourceError, match="no font covers half of the corpus's characters"):
        Template(settings, language="en")
    assert len(check(settings, "en")) == 1


def test_faces_that_cannot_write_the_corpus_are_not_used(tmp_path, template):
    template("zh")
    (tmp_path / "a.txt").write_text("学而时习之，不亦说乎？有朋自远方来，不亦乐乎？" * 9)
    found = {found.language: found.path for found in fonts.report() if found.path}
    settings = content(text={"paths": [str(tmp_path / "a.txt")]}, font={"paths": [found["en"], found["zh"]]})
    used = {face.path for face in Template(settings, language="zh").resources.faces}
    assert used == {found["zh"]}


def test_a_run_can_record_what_it_used(template):
    record = template("en").resources.record()
    assert {"fonts", "corpus", "backgrounds", "papers"} == set(record)
    assert all(len(font["sha256"]) == 64 for font in record["fonts"])
    assert record["backgrounds"][0]["pictures"] > 0
