"""Rules on an image's size and its CLIP score: paper A.1, steps 1 to 3. A null stays null: not yet judged."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from filters.rule import rule


@rule("image_too_elongated")
def image_too_elongated(width: pa.Int32Array, height: pa.Int32Array, *, max_ratio: float) -> pa.BooleanArray:
    """Keep images whose long side is at most `max_ratio` times the short one (A.1 step 1).

    A side of zero or less pixels has no ratio and is not kept. Null where a side is null.

    Raises:
        ValueError: `max_ratio` is below 1, which no image has.
    """
    if max_ratio < 1:
        raise ValueError(f"max_ratio must be at least 1, not {max_ratio:g}")
    short = pc.cast(pc.min_element_wise(width, height, skip_nulls=False), pa.float64())
    long = pc.cast(pc.max_element_wise(width, height, skip_nulls=False), pa.float64())
    return pc.and_(pc.greater(short, 0.0), pc.less_equal(long, pc.multiply(short, max_ratio)))


@rule("image_too_small")
def image_too_small(width: pa.Int32Array, height: pa.Int32Array, *, min_side: int) -> pa.BooleanArray:
    """Keep images whose short side is at least `min_side` pixels, and at least one (A.1 step 2, A.4).

    Raises:
        ValueError: `min_side` is negative.
    """
    if min_side < 0:
        raise ValueError(f"min_side must be at least 0, not {min_side}")
    short = pc.min_element_wise(width, height, skip_nulls=False)
    return pc.greater_equal(short, max(min_side, 1))


@rule("clip_score_too_low")
def clip_score_too_low(clip_score: pa.FloatArray, *, min_score: float) -> pa.BooleanArray:
    """Keep pairs whose CLIP cosine is at least `min_score`, and not NaN (A.1 step 3, set per data set).

    The threshold is rounded to the column's precision first, so that a stored 0.26 passes 0.26.

    Raises:
        ValueError: `min_score` is no cosine.
    """
    if not -1 <= min_score <= 1:
        raise ValueError(f"min_score is a cosine, from -1 to 1, not {min_score:g}")
    return pc.greater_equal(clip_score, pa.scalar(min_score, clip_score.type))
