"""What is measured of a run's rows, and the rules' thresholds on it."""

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


@dataclass(frozen=True)
class Threshold:
    """A rule's limit on a measure."""

    reason: str
    value: float
    side: str  # 'min' or 'max'


@dataclass(frozen=True)
class Measure:
    """One histogram's data: kept values, and those that the thresholds cut off, with what each stands for."""

    title: str
    unit: str
    kept: Floats
    cut: Floats
    weights: tuple[float, float]  # rows that one value stands for: of `kept`, of `cut`
    thresholds: tuple[Threshold, ...] = ()
    whole: bool = True  # counts, not fractions


def measures(
    manifest: Mapping[str, Any], kept: pa.Table, dropped: pa.Table, tokens: list[int]
) -> list[Measure]:
    """The measures that this run has values for (`kept`: see `reading.Kept`; `dropped`: rows of DROPPED)."""
    rules = {name: of for name, of in manifest["manifest"]["rules"].items() if of}
    weight = manifest["rows_out"] / max(1, kept.num_rows)
    width, height = (_floats(kept[name]) for name in ("width", "height"))
    sized = np.isfinite(width) & np.isfinite(height)
    width, height = width[sized], height[sized]
    cut_width, cut_height = _sides(dropped)
    pages = kept["task"].to_pylist()[:1] == ["ocr"]

    def measure(title: str, unit: str, values: Floats, cut: Floats, whole: bool, *limits: Any) -> Measure:
        thresholds = tuple(
            Threshold(reason, float(rules[reason][setting]), side)
            for reason, setting, side in limits
            if rules.get(reason, {}).get(setting) is not None
        )
        reasons = [reason for reason, *_ in limits]
        each = sum(manifest["dropped"].get(reason, 0) for reason in reasons) / max(1, len(cut))
        values = values[np.isfinite(values)]
        return Measure(title, unit, values, cut, (weight, each), thresholds, whole)

    small, long = ("image_too_small", "min_side", "min"), ("image_too_elongated", "max_ratio", "max")
    short_text, long_text = ("text_too_short", "min_chars", "min"), ("text_too_long", "max_chars", "max")
    score = ("clip_score_too_low", "min_score", "min")
    found = [
        measure("Width", "px", width, cut_width, True, small),
        measure("Height", "px", height, cut_height, True, small),
        measure("Aspect ratio", "long : short", *_ratios(dropped, width, height), False, long),
        measure(
            "Characters a page" if pages else "Text length",
            "characters",
            _floats(kept["chars"]),
            _chars(dropped),
            True,
            short_text,
            long_text,
        ),
        measure("CLIP score", "cosine", _floats(kept["clip_score"]), _scores(dropped), False, score),
        measure("Boxes an image", "regions", _floats(kept["boxes"]), NONE, True),
        measure("Tokens a sample", "text tokens", np.array(tokens, np.float64), NONE, True),
    ]
    return [one for one in found if len(one.kept) or len(one.cut)]


def _sides(dropped: pa.Table) -> tuple[Floats, Floats]:
    """Width and height of the rows that were too small."""
    found = pc.extract_regex(_details(dropped, ["image_too_small"]), SIDES).drop_null()
    return tuple(_floats(pc.struct_field(found, name)) for name in ("width", "height"))  # type: ignore[return-value]


def _ratios(dropped: pa.Table, width: Floats, height: Floats) -> tuple[Floats, Floats]:
    """Long side by short side of kept rows, and of those that were too elongated."""
    found = pc.extract_regex(_details(dropped, ["image_too_elongated"]), SIDES).drop_null()
    cut = [_floats(pc.struct_field(found, name)) for name in ("width", "height")]
    return _ratio(width, height), _ratio(*cut)


def _ratio(width: Floats, height: Floats) -> Floats:
    ratio: Floats = np.maximum(width, height) / np.maximum(1, np.minimum(width, height))
    return ratio


def _chars(dropped: pa.Table) -> Floats:
    rows = dropped.filter(
        pc.is_in(dropped["reason"].cast(pa.string()), pa.array(["text_too_short", "text_too_long"]))
    )
    return _floats(pc.utf8_length(rows["text"]).drop_null())


def _scores(dropped: pa.Table) -> Floats:
    found = pc.extract_regex(_details(dropped, ["clip_score_too_low"]), SCORE).drop_null()
    return _floats(pc.struct_field(found, "score"))


def _details(dropped: pa.Table, reasons: list[str]) -> pa.ChunkedArray:
    return dropped.filter(pc.is_in(dropped["reason"].cast(pa.string()), pa.array(reasons)))["detail"]


def _floats(column: pa.Array | pa.ChunkedArray) -> Floats:
    """The column as floats; null is not a number (N)."""
    values: Floats = column.cast(pa.float64()).to_numpy()
    return values
