from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from curate.adapters import pairs
from curate.errors import ManifestError
from curate.manifest.load import load
from curate.marking import SIZE, clean_and_judge
from tests.curate.runs import curate

IMAGE_TEXT = ("laion", "laion-zh", "laion-coco", "coyo", "datacomp", "cc3m", "cc12m", "sbu", "coco")
STRICT = {"text_in_other_language", "text_has_too_few_words"}


@pytest.mark.parametrize("name", IMAGE_TEXT)
def test_the_strict_preset_switches_on_what_is_beyond_the_paper(name: str) -> None:
    paper, strict = load(name).active_rules(), load(name, preset="strict").active_rules()
    assert set(strict) - set(paper) == STRICT
    assert {rule: strict[rule] for rule in paper} == paper


def test_settings_come_after_the_preset() -> None:
    rules = load("laion", ["rules.text_has_too_few_words.min_words=2"], "strict").active_rules()
    assert rules["text_has_too_few_words"] == {"min_words": 2}
    assert (
        "text_has_too_few_words"
        not in load("laion", ["rules.text_has_too_few_words=false"], "strict").active_rules()
    )


def test_a_preset_that_there_is_not_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"laion has no preset 'strickt' \(it has: paper, strict\)"):
        load("laion", preset="strickt")
    done = curate("run", "vqav2", "--preset", "strict", "--out", tmp_path / "out", "--workers", 0)
    assert (done.returncode, "vqav2 has no preset 'strict' (it has: paper)" in done.stderr) == (2, True)


def test_a_language_that_is_kept_is_named() -> None:
    settings = {
        "rules.text_in_other_language.keep": ["en", "de"],
        "rules.text_in_other_language.on": True,
        "rules.text_has_other_script.allow": "ü",
    }
    manifest = load("laion", settings)
    texts = [
        "Eine Katze schläft auf dem grünen Sofa im Wohnzimmer",
        "A cat sleeps on the sofa",
        "Lubeck, Germany",
    ]
    table = pairs(pa.table({"url": ["u", "v", "w"], "text": texts}), manifest, "f", 0)
    wanted = ("text_in_other_language",)
    rules = {name: of for name, of in manifest.active_rules().items() if name in wanted}
    assert clean_and_judge(table, manifest, rules, SIZE)["language"].to_pylist() == ["de", "en", "en"]
