"""SynthDoG's settings and their allowed values. The defaults are in en.toml and zh.toml.

A pair is a closed range from which a value is drawn. `prob` is the probability with which an effect is used. Sizes are
px of the final picture; shares (0 to 1) are relative to the surrounding object.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from importlib import resources
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from synthdog.errors import SettingsError

LANGUAGES = ("en", "zh")
MAX_SIDE = 16_384  # px: OpenCV cannot warp images beyond 32,767

Prob = Annotated[float, Meta(ge=0, le=1)]
Share = Annotated[float, Meta(ge=0, le=1)]
Positive = Annotated[float, Meta(ge=0)]
Side = Annotated[int, Meta(ge=64, le=4096)]
Count = Annotated[int, Meta(ge=1, le=64)]
Shares = tuple[Share, Share]
Positives = tuple[Positive, Positive]
Sides = tuple[Side, Side]
Grays = tuple[Annotated[int, Meta(ge=0, le=255)], Annotated[int, Meta(ge=0, le=255)]]
Ratios = tuple[Annotated[float, Meta(ge=1, le=10)], Annotated[float, Meta(ge=1, le=10)]]
Paths = tuple[str, ...]


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of settings; it checks that the lower end of each pair comes first."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            pair = (
                isinstance(value, tuple)
                and len(value) == 2
                and all(isinstance(v, int | float) for v in value)
            )
            if pair and name != "weights" and value[0] > value[1]:
                raise ValueError(f"'{name}' runs from {value[0]} down to {value[1]}")


class Texture(Section, frozen=True):
    """Pictures laid over a surface; without `paths`, the generated pictures of this package."""

    paths: Paths
    weights: tuple[Positive, ...]  # one for each path; empty: all paths have the same weight
    alpha: Shares
    grayscale: Prob
    crop: Prob

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.weights and (len(self.weights) != len(self.paths) or not any(self.weights)):
            raise ValueError(
                f"{len(self.paths)} 'paths' need as many 'weights' or none, not all zero: {self.weights}"
            )


class Blur(Section, frozen=True):
    """Gaussian blur; whole numbers are drawn, as synthtiger does."""

    prob: Prob
    sigma: tuple[Annotated[float, Meta(ge=0, le=50)], Annotated[float, Meta(ge=0, le=50)]]


class Background(Section, frozen=True):
    """The picture behind the document."""

    image: Texture
    blur: Blur


class Corpus(Section, frozen=True):
    """Where the text comes from; without `paths`, the corpus that comes with this package."""

    paths: Paths  # .txt, .jsonl, .parquet, or folders of them
    column: str  # of JSONL and Parquet
    max_chars: Annotated[int, Meta(ge=1000, le=50_000_000)]  # kept in memory, spread evenly over the files


class Font(Section, frozen=True):
    """Which faces are used; without `paths`, those of fonts.toml that this machine has."""

    paths: Paths  # .ttf, .otf, .ttc, or folders of them
    bold: Prob


class LayoutSection(Section, frozen=True):
    """A stack of grids of text lines."""

    text_scale: tuple[Annotated[float, Meta(gt=0, le=1)], Annotated[float, Meta(gt=0, le=1)]]
    max_row: Count
    max_col: Count
    fill: Shares
    full: Prob
    align: tuple[Literal["left", "right", "center"], ...]
    stack_spacing: Shares
    stack_fill: Shares
    stack_full: Prob


class TextBox(Section, frozen=True):
    """How much of the width of its cell a line fills."""

    fill: Shares


class Colour(Section, frozen=True):
    """Ink that is not black."""

    prob: Prob
    gray: Grays
    colorize: Prob


class Content(Section, frozen=True):
    """The text on the paper."""

    margin: tuple[Annotated[float, Meta(ge=0, lt=0.5)], Annotated[float, Meta(ge=0, lt=0.5)]]
    text: Corpus
    font: Font
    layout: LayoutSection
    textbox: TextBox
    textbox_color: Colour
    content_color: Colour


class Elastic(Section, frozen=True):
    """Elastic distortion: displacement up to `alpha` px, smoothed with `sigma` px."""

    prob: Prob
    alpha: tuple[Annotated[float, Meta(ge=0, le=100)], Annotated[float, Meta(ge=0, le=100)]]
    sigma: tuple[Annotated[float, Meta(ge=0, le=50)], Annotated[float, Meta(ge=0, le=50)]]


class Noise(Section, frozen=True):
    """Additive Gaussian noise of standard deviation `scale` gray levels."""

    prob: Prob
    scale: tuple[Annotated[float, Meta(ge=0, le=128)], Annotated[float, Meta(ge=0, le=128)]]
    per_channel: Prob


class Perspective(Section, frozen=True):
    """Ways to shorten the sides, each with its weight: four pairs (top, right, bottom, left) a way."""

    prob: Prob
    weights: tuple[Positive, ...]
    percents: tuple[tuple[Shares, Shares, Shares, Shares], ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.weights) != len(self.percents) or not any(self.weights):
            raise ValueError(f"{len(self.percents)} 'percents' need as many 'weights', not all zero")
        if min(share for way in self.percents for pair in way for share in pair) < 0.05:
            raise ValueError("'percents' below 0.05 leave nothing of the document")


class Rotation(Section, frozen=True):
    """Rotation about the document's middle, in degrees."""

    prob: Prob
    angle: tuple[Annotated[float, Meta(ge=-180, le=180)], Annotated[float, Meta(ge=-180, le=180)]]


class DocumentEffects(Section, frozen=True):
    """The effects on the document, in the order in which they are applied."""

    elastic: Elastic
    noise: Noise
    perspective: Perspective
    rotation: Rotation


class DocumentSection(Section, frozen=True):
    """The sheet of paper and its writing."""

    fullscreen: Prob
    landscape: Prob
    short_size: Sides
    aspect_ratio: Ratios
    paper: Texture
    content: Content
    effect: DocumentEffects

    def __post_init__(self) -> None:
        super().__post_init__()
        _bounded(self.short_size, self.aspect_ratio)


class Tint(Section, frozen=True):
    """A colour laid over the picture."""

    prob: Prob
    rgb: tuple[Grays, Grays, Grays]
    alpha: Shares


class Shadow(Section, frozen=True):
    """A shadow that grows from one side."""

    prob: Prob
    intensity: Grays
    amount: Shares
    smoothing: Shares
    bidirectional: Prob


class Contrast(Section, frozen=True):
    """Contrast about the middle gray."""

    prob: Prob
    alpha: Positives


class Brightness(Section, frozen=True):
    """Gray levels added."""

    prob: Prob
    beta: tuple[Annotated[int, Meta(ge=-255, le=255)], Annotated[int, Meta(ge=-255, le=255)]]


class MotionBlur(Section, frozen=True):
    """Motion blur of `k` px (made odd), in a direction."""

    prob: Prob
    k: tuple[Annotated[int, Meta(ge=3, le=51)], Annotated[int, Meta(ge=3, le=51)]]
    angle: tuple[Annotated[float, Meta(ge=-360, le=360)], Annotated[float, Meta(ge=-360, le=360)]]


class Effects(Section, frozen=True):
    """The effects on the whole picture, in the order in which they are applied."""

    color: Tint
    shadow: Shadow
    contrast: Contrast
    brightness: Brightness
    motion_blur: MotionBlur
    blur: Blur


class LabelSection(Section, frozen=True):
    """Which quads are written to `extra`, besides those of lines in `regions`."""

    words: bool
    chars: bool


class TemplateSettings(Section, frozen=True):
    """All settings of the template."""

    quality: tuple[Annotated[int, Meta(ge=1, le=100)], Annotated[int, Meta(ge=1, le=100)]]  # of the JPEG
    landscape: Prob
    short_size: Sides
    aspect_ratio: Ratios
    max_attempts: Annotated[int, Meta(ge=1, le=100)]
    background: Background
    document: DocumentSection
    effect: Effects
    labels: LabelSection

    def __post_init__(self) -> None:
        super().__post_init__()
        _bounded(self.short_size, self.aspect_ratio)


def load(settings: Mapping[str, Any] | TemplateSettings | None, language: str) -> TemplateSettings:
    """The language's default settings, in which the values of `settings` (nested tables, or None) replace others.

    A complete `TemplateSettings` is returned as it is.

    Raises:
        SettingsError: an unknown language or setting, or a value out of its range.
    """
    if isinstance(settings, TemplateSettings):
        return settings
    if language not in LANGUAGES:
        raise SettingsError(f"synthdog has no language {language!r} (it has: {', '.join(LANGUAGES)})")
    try:
        return msgspec.convert(_overlay(defaults(language), settings or {}, "settings"), TemplateSettings)
    except msgspec.ValidationError as problem:
        raise SettingsError(f"synthdog settings: {problem}") from None


def defaults(language: str) -> dict[str, Any]:
    """The default settings of `language`, as nested tables."""
    return tomllib.loads((resources.files("synthdog") / f"{language}.toml").read_text("utf-8"))


def _bounded(short_size: Sides, aspect_ratio: Ratios) -> None:
    long_size = short_size[1] * aspect_ratio[1]
    if long_size > MAX_SIDE:
        raise ValueError(
            f"'short_size' times 'aspect_ratio' reaches {long_size:.0f} px: {MAX_SIDE} is the most"
        )


def _overlay(under: Mapping[str, Any], over: Mapping[str, Any], at: str) -> dict[str, Any]:
    merged = dict(under)
    for name, value in over.items():
        if isinstance(under.get(name), Mapping):
            if not isinstance(value, Mapping):
                raise SettingsError(f"synthdog settings: '{at}.{name}' is a table, not {value!r}")
            merged[name] = _overlay(under[name], value, f"{at}.{name}")
        else:
            merged[name] = value
    return merged
