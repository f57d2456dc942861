from __future__ import annotations

import numpy as np
import pytest

from synthdog import settings
from synthdog.draws import Sampler
from synthdog.errors import SettingsError


def test_any_value_can_be_laid_over_the_defaults():
    known = settings.load({"document": {"effect": {"noise": {"scale": [1, 2]}}}}, "zh")
    assert known.document.effect.noise.scale == (1, 2)
    assert known.document.effect.elastic.alpha == (0, 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"qualty": [1, 2]}, "unknown field `qualty`"),
        ({"document": {"content": {"layout": {"max_rows": 3}}}}, "unknown field `max_rows`"),
        ({"quality": [95, 50]}, "'quality' runs from 95 down to 50"),
        ({"short_size": [64, 4096], "aspect_ratio": [1, 10]}, "reaches 40960 px: 16384 is the most"),
        ({"quality": "good"}, "Expected `array`"),
        ({"short_size": [10, 100_000]}, ">= 64"),
        ({"document": 3}, "'settings.document' is a table"),
        ({"effect": {"blur": {"prob": 2}}}, "<= 1.0"),
        ({"effect": {"shadow": {"amount": [float("nan"), 1]}}}, "shadow"),
        ({"background": {"image": {"paths": ["a"], "weights": [1, 2]}}}, "1 'paths' need as many 'weights'"),
        ({"document": {"effect": {"perspective": {"weights": [1]}}}}, "8 'percents' need as many 'weights'"),
        ({"document": {"content": {"layout": {"align": ["middle"]}}}}, "Invalid enum value 'middle'"),
    ],
)
def test_a_wrong_setting_is_an_error_of_one_line(changes, message):
    with pytest.raises(SettingsError, match=message) as caught:
        settings.load(changes, "en")
    assert "\n" not in str(caught.value)


def test_an_unknown_language_names_those_there_are():
    with pytest.raises(SettingsError, match=r"no language 'fr' \(it has: en, zh\)"):
        settings.load({}, "fr")


def test_both_languages_share_their_hyperparameters():
    assert settings.defaults("en") == settings.defaults("zh")


def test_draws_follow_the_settings_and_the_seed():
    sampler = Sampler(settings.load(None, "en"))
    draws = [sampler.strengths([seed]) for seed in range(400)]
    assert sampler.strengths([7]) == draws[7]
    assert 0.1 < np.mean([draw.color is not None for draw in draws]) < 0.3
    assert 0.42 < np.mean([draw.motion_blur is not None for draw in draws]) < 0.58
    assert abs(np.mean([draw.noise["scale"] for draw in draws]) - 4) < 0.5
    assert {draw.blur["sigma"] for draw in draws} == {0, 1}
