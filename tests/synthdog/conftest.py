"""Templates are costly to set up: one a language for all of these tests."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest

from synthdog import fonts
from synthdog.template import Template

STRONG = {
    "document": {
        "effect": {
            "elastic": {"alpha": [20, 40], "sigma": [4, 8]},
            "noise": {"scale": [16, 32]},
            "rotation": {"prob": 1, "angle": [-15, 15]},
            "perspective": {"weights": [1], "percents": [[[0.5, 1]] * 4]},
        }
    },
    "effect": {"motion_blur": {"prob": 1, "k": [5, 15]}, "blur": {"sigma": [0, 4]}},
    "labels": {"words": True, "chars": True},
}


@pytest.fixture(scope="session")
def template() -> Callable[..., Template]:
    @cache
    def make(language: str, strong: bool = False) -> Template:
        if not any(found.path for found in fonts.report() if found.language == language):
            pytest.skip(f"none of the typefaces for {language} is installed")
        return Template(STRONG if strong else None, language=language)

    return make
