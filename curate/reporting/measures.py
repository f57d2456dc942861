"""The measures of a run's rows that become histograms, with the thresholds of the rules on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Floats = npt.NDArray[np.float64]

SIDES = r"width=(?P<width>\d+) height=(?P<height>\d+)"
SCORE = r"clip_score=(?P<score>-?[0-9.]+(?:e-?\d+)?)"
NONE: Floats = np.zeros(0)
FRACTIONS = ("long : short", "cosine")
LIMITS = {  # for each unit: the rules on it, their setting, and whether it is a minimum or maximum
    "px": (("image_too_small", "min_side", "min"),),
    "long : short": (("image_too_elongated", "max_ratio", "max"),),
    "characters": (("text_too_short", "min_chars", "min"), ("text_too_long", "max_chars", "max")),
    "cosine": (("clip_score_too_low", "min_score", "min"),),
}


@dataclass(frozen=True)
class Threshold:
    """A rule's limit on a measure."""

    reason: str
    value: float
    side: str  # 'min' or 'max'


@dataclass(frozen=True)
class Measure:
    """The data of one histogram: the values of kept rows and of rows that the thresholds dropped."""

    title: str
    unit: str
    kept: Floats
    cut: Floats
    weights: tuple[float, float]  # how many rows of the run one value of `kept`, and one of `cut`, stands for
    thresholds: tuple[Threshold, ...] = ()
    whole: bool = True  # counts, not fractions


def measures(
    manifest: Mapping[str, Any], kept: pa.Table, dropped: pa.Table, tokens: list[int]
) -> list[Measure]:
    """The measures for which this run has values, one for each histogram.

    `manifest` is the whole of `_manifest.json`, `kept` the table of `sampling.Kept`, `dropped` dropped rows (DROPPED),
    `tokens` the numbers of tokens of some samples.
    """
    width, height = (_floats(kept[name]) for name in ("width", "height"))
    sized = np.isfinite(width) & np.isfinite(height)
    width, height = width[sized], height[sized]
    cut_width, cut_height = _sides(dropped, "image_too_small")
    chars, cut_chars = _floats(kept["chars"]), _chars(dropped)
    long = "Characters a page" if kept["task"].to_pylist()[:1] == ["ocr"] else "Text length"
    ratios = _ratio(width, height), _ratio(*_sides(dropped, "image_too_elongated"))
    found = [
        _measure(manifest, kept, "Width", "px", width, cut_width),
        _measure(manifest, kept, "Height", "px", height, cut_height),
        _measure(manifest, kept, "Aspect ratio", "long : short", *ratios),
        _measure(manifest, kept, long, "characters", chars, cut_chars),
        _measure(manifest, kept, "CLIP score", "cosine", _floats(kept["clip_score"]), _scores(dropped)),
        _measure(manifest, kept, "Boxes an image", "regions", _floats(kept["boxes"]), NONE),
        _measure(manifest, kept, "Images a dialogue", "images", _floats(kept["images"]), NONE),
        _measure(manifest, kept, "Turns a dialogue", "turns", _floats(kept["turns"]), NONE),
        _measure(manifest, kept, "Tokens a sample", "text tokens", np.array(tokens, np.float64), NONE),
    ]
    return [one for one in found if len(one.kept) or len(one.cut)]


def _measure(
    manifest: Mapping[str, Any], kept: pa.Table, title: str, unit: str, values: Floats, cut: Floats
) -> Measure:
    """A measure, with the thresholds of this run's rules on it."""
    limits, rules = LIMITS.get(unit, ()), manifest["manifest"]["rules"]
    thresholds = tuple(
        Threshold(reason, float(rules[reason][setting]), side)
        for reason, setting, side in limits
        if (rules.get(reason) or {}).get(setting) is not None
    )
    each = sum(manifest["dropped"].get(reason, 0) for reason, *_ in limits) / max(1, len(cut))
    weights = manifest["rows_out"] / max(1, kept.num_rows), each
    values = values[np.isfinite(values)]
    return Measure(title, unit, values, cut, weights, thresholds, whole=unit not in FRACTIONS)


def _sides(dropped: pa.Table, reason: str) -> tuple[Floats, Floats]:
    """Width and height in pixels of the rows dropped for `reason`, read from the text of their `detail`."""
    found = pc.extract_regex(_details(dropped, reason), SIDES).drop_null()
    return tuple(_floats(pc.struct_field(found, name)) for name in ("width", "height"))  # type: ignore[return-value]


def _ratio(width: Floats, height: Floats) -> Floats:
    ratio: Floats = np.maximum(width, height) / np.maximum(1, np.minimum(width, height))
    return ratio


def _chars(dropped: pa.Table) -> Floats:
    texts = _of(dropped, "text_too_short", "text_too_long")["text"]
    return _floats(pc.utf8_length(texts).drop_null())


def _scores(dropped: pa.Table) -> Floats:
    found = pc.extract_regex(_details(dropped, "clip_score_too_low"), SCORE).drop_null()
    return _floats(pc.struct_field(found, "score"))


def _details(dropped: pa.Table, reason: str) -> pa.ChunkedArray:
    return _of(dropped, reason)["detail"]


def _of(dropped: pa.Table, *reasons: str) -> pa.Table:
    return dropped.filter(pc.is_in(dropped["reason"].cast(pa.string()), pa.array(reasons)))


def _floats(column: pa.Array | pa.ChunkedArray) -> Floats:
    """The column as floats (N); null becomes NaN."""
    values: Floats = column.cast(pa.float64()).to_numpy()
    return values
