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


@rule("image_blank")
def image_blank(width: pa.Int32Array, *, max_share: float) -> pa.BooleanArray:
    """Keep images of which at most `max_share` (0 to 1) of the pixels have one colour, transparency laid on white.

    The code that decodes an image judges this, and drops the image. So this function keeps every row that has a width;
    it only declares the rule and its setting.
    """
    if not 0 <= max_share <= 1:
        raise ValueError(f"max_share must be from 0 to 1: {max_share}")
    return pc.if_else(pc.is_valid(width), True, pa.scalar(None, pa.bool_()))


@rule("image_changed")
def image_changed(
    width: pa.Int32Array, height: pa.Int32Array, *, max_ratio_change: float, sha256: str = ""
) -> pa.BooleanArray:
    """Keep images whose ratio of sides is at most `max_ratio_change` (0.1: a tenth) off the published one.

    The judgement needs the published and the true size, so the run makes it with `changed` once an image is decoded;
    this function keeps every row with a known size. `sha256` names the source's column with the SHA-256 (hex) of each
    image's bytes: images with another hash are dropped too.
    """
    if max_ratio_change < 0:
        raise ValueError(f"max_ratio_change must not be below 0: {max_ratio_change}")
    known = pc.and_(pc.is_valid(width), pc.is_valid(height))
    return pc.if_else(known, True, pa.scalar(None, pa.bool_()))


def changed(
    published: pa.Table, decoded: pa.Table, turned: pa.Array, max_ratio_change: float, sha256: str = ""
) -> pa.Array:
    """Whether each image's ratio of sides differs too much from the published one (N); false if a size is not known.

    The tables have `width` and `height` in pixels; `sha256` is not used here. Where `turned` (N) is true, the image was
    turned by a right angle, and the published size may be that before or after. One pixel is allowed for sides that
    were rounded when the image was shrunk.
    """
    sizes = [
        pc.cast(table[side], pa.float64()) for table in (published, decoded) for side in ("width", "height")
    ]
    known = [pc.if_else(pc.greater(side, 0), side, pa.scalar(None, pa.float64())) for side in sizes]
    width, height, true_width, true_height = known

    def off(one: pa.Array, other: pa.Array) -> pa.Array:
        ratio = pc.divide(pc.multiply(one, true_height), pc.multiply(other, true_width))
        return pc.subtract(pc.max_element_wise(ratio, pc.divide(1.0, ratio), skip_nulls=False), 1.0)

    least = off(width, height)
    least = pc.if_else(turned, pc.min_element_wise(least, off(height, width), skip_nulls=False), least)
    rounding = pc.divide(1.0, pc.min_element_wise(true_width, true_height, skip_nulls=False))
    return pc.fill_null(pc.greater(least, pc.add(rounding, max_ratio_change)), False)


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
