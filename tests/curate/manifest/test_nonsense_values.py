"""Values of the right type that make no sense: each is refused in one line, before anything is read."""

from __future__ import annotations

from typing import Any

import pytest

from curate.errors import ManifestError
from curate.images.protocol import FORMATS
from curate.manifest.load import load
from curate.manifest.settings import ImageSettings


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("rules.unsafe.column", [], r"'column' is a name, not \[\]"),
        ("rules.unsafe.column", "", "'column' is a name, not ''"),
        ("rules.mine.column", 0, "'column' is a name, not 0"),
        ("title", "half \ud800", "'title' is no UTF-8"),
        ("rules.text_has_special_tag.tags", ["\udcff"], "'rules.text_has_special_tag.tags' is no UTF-8"),
        ("rules.\ud800.min_side", 5, r"is no UTF-8"),
        ("key", [], "key must name at least one column"),
        ("render.dpi", 3, "render has settings of the adapters that make page images"),
        ("image.formats", [], "image.formats must be"),
        ("image.formats", ["jpg"], "image.formats must be"),
        ("fetch.per_host_rate", float("nan"), "fetch.per_host_rate must be at least 0"),
        ("fetch.longest_rest_s", -1.0, "fetch.longest_rest_s must be at least 0"),
        ("rules.target_too_long.max_chars", -1, "max_chars must be at least 0, not -1"),
        ("rules.text_repeats_itself.max_share", 1.5, "max_share is a share, from 0 to 1, not 1.5"),
        ("rules.text_in_other_language.keep", [], "keep names no language"),
        ("rules.image_in_evaluation_set.against", [], "against names no file"),
        ("rules.image_name_on_list.against", [], "against names no file"),
        (
            "only.x",
            ["<0.5"],
            r"comparison: write a rule, --set rules.my_rule.column=x --set rules.my_rule.max=0.5$",
        ),
        ("only.x", ["a", ">= -1e3"], r"'>= -1e3' is a comparison: .* --set rules.my_rule.min=-1e3$"),
        ("plugins", ["a\0.py"], "no name holds a null character"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_in_one_line(setting: str, value: Any, said: str) -> None:
    with pytest.raises(ManifestError, match=said) as refused:
        load("laion", {setting: value})
    assert "\n" not in str(refused.value)


def test_a_key_is_refused_where_no_row_has_columns() -> None:
    with pytest.raises(ManifestError, match="a page's key comes from its document and its number"):
        load("pdf", {"key": ["text"]})
    assert load("text", {"key": ["source"]}).key == ("source",)


def test_a_manifest_whose_name_holds_a_null_character_is_refused() -> None:
    with pytest.raises(ManifestError, match="no name holds a null character"):
        load("a\0b.toml")


def test_every_format_that_is_decoded_may_be_named() -> None:
    assert ImageSettings().formats == FORMATS
    assert load("laion", {"image.formats": list(FORMATS)}).image.formats == FORMATS


def test_only_takes_texts_that_are_no_comparison() -> None:
    wanted = ["<b>", "a<0.5", "-1", "> a"]
    assert load("laion", {"only.x": wanted}).only == {"x": tuple(wanted)}
