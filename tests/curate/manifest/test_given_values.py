"""Settings from the command line: text where text is asked for, and closed lists that are named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from curate.errors import ManifestError
from curate.manifest.declared import plain_fault
from curate.manifest.load import load
from curate.manifest.settings import Manifest, ScorerSettings
from curate.origins.pages import settings_of

pytest.importorskip("pymupdf")
from renderers.pdf.settings import PdfSettings


def value(setting: str, manifest: str = "pdf") -> Any:
    found: Any = load(manifest, [setting]).resolved()
    for name in setting.partition("=")[0].split("."):
        found = found[name]
    return found


@pytest.mark.parametrize(
    ("setting", "right"),
    [
        ("render.password=1234", "1234"),
        ("render.password=0x1F", "0x1F"),
        ("render.password=1e5", "1e5"),
        ("render.password=true", "true"),
        ("render.password=2024-01-31", "2024-01-31"),
        ('render.password="1234"', "1234"),
        ("render.pages=1", "1"),
        ("input.delimiter=1", "1"),
        ("notes=12", "12"),
        ("only.split=1", ("1",)),
        ("columns.text=5", ("5",)),
    ],
)
def test_what_looks_like_a_number_is_text_where_a_setting_is_text(setting: str, right: Any) -> None:
    assert value(setting) == right


@pytest.mark.parametrize(
    ("setting", "right"),
    [
        ("render.long_side=800", 800),
        ("render.structure=true", True),
        ("render.max_dpi=150", 150),
        ("seed=7", 7),
        ("rules.text_too_long.max_chars=256", 256),
        ("image.max_side=12", 12),
    ],
)
def test_numbers_stay_numbers(setting: str, right: Any) -> None:
    assert value(setting) == right
    assert type(value(setting)) is type(right)


def test_a_rule_on_a_column_of_a_number_s_name(tmp_path: Path) -> None:
    rules = load("laion", ["rules.own.column=5", "rules.own.max=0.5"]).rules
    assert rules["own"]["column"] == "5"  # type: ignore[index]
    assert rules["own"]["max"] == 0.5  # type: ignore[index]


def test_a_renderer_names_the_values_that_a_setting_may_have() -> None:
    manifest = load("pdf", ["render.ocr=tesserakt"])
    with pytest.raises(
        ManifestError, match=r"ocr cannot be 'tesserakt' \(it can be: none, tesseract; did you mean"
    ):
        settings_of(manifest, PdfSettings)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("language=de", r"language cannot be 'de' \(it can be: auto, en, zh\)"),
        ("input.format=parket", "did you mean 'parquet'"),
        ("rules.own.null=kep", r"it can be: keep, drop; did you mean 'keep'"),
    ],
)
def test_a_manifest_names_the_values_that_a_setting_may_have(setting: str, said: str) -> None:
    with pytest.raises(ManifestError, match=said):
        load("laion", ["rules.own.column=a", setting])


def test_msgspecs_messages_are_said_in_plain_words() -> None:
    assert (
        plain_fault("Expected `int`, got `str` - at `$.seed`", Manifest)
        == "seed takes a whole number, not text"
    )
    assert plain_fault("Expected `int`, got `float`", int) == "it takes a whole number, not a fraction"
    assert plain_fault("Expected `int | null`, got `array`", Any) == "it takes a whole number, not a list"
    assert plain_fault("Expected `array` of length 3, got 2 - at `$.heads[...].mean`", Manifest) == (
        "heads[...].mean takes 3 values, not 2"
    )
    assert plain_fault("Object missing required field `title`", Manifest) == "it lacks the key 'title'"
    assert plain_fault("Object contains unknown field `retrys` - at `$.fetch`", Manifest) == (
        "fetch has no key 'retrys' (did you mean 'retries'?)"
    )
    assert (
        plain_fault("Integer value out of range - at `$.seed`", Manifest)
        == "seed: Integer value out of range"
    )
    assert plain_fault("Invalid enum value 'x' - at `$.batch_size`", ScorerSettings) == (
        "batch_size cannot be 'x' (it can be: auto, a whole number)"
    )
    assert plain_fault("Invalid enum value 'softmx' - at `$.heads[...].activation`", Manifest) == (
        "heads[...].activation cannot be 'softmx' (it can be: none, softmax, sigmoid; did you mean 'softmax'?)"
    )
