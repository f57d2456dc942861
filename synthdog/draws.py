"""Draw the strength of every effect with synthtiger's own components, so that the statistics are SynthDoG's.

synthtiger draws from numpy's global generator. Here the generator's state is saved before and restored after, and each
image has a seed of its own. So other users of the generator are not affected, and the order of images does not matter.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from synthdog import compat
from synthdog.settings import Blur, DocumentEffects, Effects, TemplateSettings

Draw = dict[str, Any]  # a component's parameters as synthtiger names them

_GLOBAL_STATE = threading.Lock()


@dataclass(frozen=True)
class Strengths:
    """The strengths that were drawn for one image; None where an effect is not used."""

    background_blur: Draw | None
    elastic: Draw | None
    noise: Draw | None
    perspective: Draw | None
    rotation: Draw | None
    color: Draw | None
    shadow: Draw | None
    contrast: Draw | None
    brightness: Draw | None
    motion_blur: Draw | None
    blur: Draw | None

    def record(self) -> dict[str, Any]:
        """The strengths as plain rounded numbers, without those not used."""
        return {name: _plain(draw) for name, draw in vars(self).items() if draw is not None}


class Sampler:
    """Draws strengths and ink colours from synthtiger's components, set up once from the settings."""

    def __init__(self, settings: TemplateSettings):
        self._tiger = compat.synthtiger().components
        content = settings.document.content
        self._effects = self._tiger.Iterator(
            [
                self._blur(settings.background.blur),
                *self._of_document(settings.document.effect),
                *self._of_picture(settings.effect),
            ]
        )
        self._inks = {
            "line": self._ink(content.textbox_color.prob, content.textbox_color.gray),
            "content": self._ink(content.content_color.prob, content.content_color.gray),
        }

    def strengths(self, seed: Sequence[int]) -> Strengths:
        """One draw of every effect, a function of `seed` (32 bit words) alone."""
        with _global_seed(seed):
            draws = self._effects.sample()["metas"]
        return Strengths(*(draw["meta"] for draw in draws))

    def grays(self, kind: str, count: int, seed: Sequence[int]) -> list[int | None]:
        """Gray level (0 to 255) of each of `count` inks of a kind (`line` or `content`); None where it stays black."""
        with _global_seed(seed):
            draws = [self._inks[kind].sample()["meta"] for _ in range(count)]
        return [None if draw is None else int(draw["gray"]) for draw in draws]

    def _of_document(self, effects: DocumentEffects) -> list[Any]:
        t, e = self._tiger, effects
        ways = [t.Perspective(percents=percents) for percents in e.perspective.percents]
        return [
            t.Switch(t.ElasticDistortion(e.elastic.alpha, e.elastic.sigma), e.elastic.prob),
            t.Switch(t.AdditiveGaussianNoise(e.noise.scale, e.noise.per_channel), e.noise.prob),
            t.Switch(t.Selector(ways, e.perspective.weights), e.perspective.prob),
            t.Switch(t.Rotate(e.rotation.angle), e.rotation.prob),
        ]

    def _of_picture(self, effects: Effects) -> list[Any]:
        t, e, shade = self._tiger, effects, effects.shadow
        return [
            t.Switch(t.RGB(e.color.rgb, e.color.alpha), e.color.prob),
            t.Switch(
                t.Shadow(shade.intensity, shade.amount, shade.smoothing, shade.bidirectional), shade.prob
            ),
            t.Switch(t.Contrast(e.contrast.alpha), e.contrast.prob),
            t.Switch(t.Brightness(e.brightness.beta), e.brightness.prob),
            t.Switch(t.MotionBlur(e.motion_blur.k, e.motion_blur.angle), e.motion_blur.prob),
            self._blur(e.blur),
        ]

    def _blur(self, blur: Blur) -> Any:
        return self._tiger.Switch(self._tiger.GaussianBlur(blur.sigma), blur.prob)

    def _ink(self, prob: float, gray: tuple[int, int]) -> Any:
        # colorize=0: a colour of synthtiger's takes a permutation of 65,536 numbers; ours come from `colour`
        return self._tiger.Switch(self._tiger.Gray(gray, colorize=0), prob)


def colour(gray: int, rng: np.random.Generator) -> tuple[int, int, int]:
    """A random colour (blue, green, red) of luminance `gray`, as synthtiger's `to_rgb` picks one."""
    red, green = rng.integers(256, size=(2, 2048))
    blue = np.rint((gray - red * 0.2989 - green * 0.5870) / 0.1140).astype(int)
    for pick in np.flatnonzero((blue >= 0) & (blue < 256))[:1]:
        return int(blue[pick]), int(green[pick]), int(red[pick])
    return gray, gray, gray


@contextmanager
def _global_seed(seed: Sequence[int]) -> Iterator[None]:
    with _GLOBAL_STATE:
        state = np.random.get_state()
        np.random.seed(list(seed))
        try:
            yield
        finally:
            np.random.set_state(state)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items() if part is not None}
    if isinstance(value, tuple | list):
        return [_plain(part) for part in value]
    if isinstance(value, bool | np.bool_):
        return bool(value)
    return round(float(value), 4) if isinstance(value, float | np.floating) else int(value)
