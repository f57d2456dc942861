"""Find images by the names that data sets give them: so overlaps of data sets are known without decoding images.

A name is the last part of a URL or path, without its suffix. Images of COCO are named by their number, `coco:9`: the
paths `COCO_train2014_000000000009.jpg` and `train2017/000000000009.jpg` both become that name.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.column import as_numbers
from filters.rule import rule

STEPS = (  # replacements that turn a URL or path into the name
    (r"(?s)[?#].*", ""),
    (r"(?s)^.*[/\\]", ""),
    (r"\.[A-Za-z]{3,4}$", ""),
    (r"^(?:COCO_[a-z]+[0-9]{4}_)?([0-9]{12})(?:_[0-9]+)?$", r"coco:\1"),  # RefCOCO adds the object's number
    (r"^coco:0*([0-9]{1,12})$", r"coco:\1"),
)


def _nobody(name: str) -> pa.Array:
    raise KeyError(f"nobody opens {name}")


open_names: Callable[[str], pa.Array] = _nobody  # set by the module that reads lists


def names_of(places: pa.Array) -> pa.Array:
    """The names of images by their URLs, paths or names (N, null for null)."""
    names = places.cast(pa.large_string())
    for pattern, by in STEPS:
        names = pc.replace_substring_regex(names, pattern, by)
    return names


def _said(
    key: pa.Array,
    url: pa.Array,
    image_path: pa.Array,
    images: pa.ListArray,
    *numbers: pa.Array,
    against: tuple[str, ...],
    coco_id: str = "",
) -> pa.StringArray:
    """The name of a row's own image, and behind it COCO's number of it where there is one (N rows)."""
    names = pc.coalesce(names_of(image_path), names_of(url))
    for one in map(numbers_of, numbers):
        both = pc.binary_join_element_wise(names.fill_null(""), one, pa.scalar(" ", one.type))
        names = pc.if_else(pc.is_valid(one), both, names)
    return names


@rule("image_name_on_list", describe=_said, published="coco_id")
def not_named(
    key: pa.StringArray,
    url: pa.LargeStringArray,
    image_path: pa.StringArray,
    images: pa.ListArray,
    *numbers: pa.Array,
    against: tuple[str, ...],
    coco_id: str = "",
) -> pa.BooleanArray:
    """Keep rows none of whose images is named on the lists `against`, by its URL or its path; null without a key.

    `coco_id` names a column of the source with COCO's number of the image, which is searched for in the lists too.
    Where the source has no such column, or no number in it, only the names decide.
    """
    if key.null_count == len(key):
        return pa.nulls(len(key), pa.bool_())
    listed = pa.concat_arrays([open_names(name) for name in against] or [pa.array([], pa.large_string())])
    falls = pc.or_(_among(url, listed), _among(image_path, listed)).to_numpy(zero_copy_only=False).copy()
    for one in map(numbers_of, numbers):
        falls |= pc.is_in(one, listed, skip_nulls=True).to_numpy(zero_copy_only=False)
    rows = pc.list_parent_indices(images).to_numpy()
    for field in ("url", "path"):
        found = _among(pc.struct_field(pc.list_flatten(images), field), listed)
        falls[rows[found.to_numpy(zero_copy_only=False)]] = True
    return pa.array(np.logical_not(falls), mask=key.is_null().to_numpy(zero_copy_only=False))


def numbers_of(numbers: pa.Array) -> pa.Array:
    """The names of images by COCO's numbers (N, null where there is no whole number)."""
    whole = as_numbers(numbers)
    whole = pc.if_else(pc.equal(whole, pc.floor(whole)), whole, None)
    fits = pc.and_(pc.greater_equal(whole, 0), pc.less(whole, 10**12))
    numbers = pc.if_else(fits, whole, None).cast(pa.int64()).cast(pa.large_string())
    return pc.binary_join_element_wise(
        pa.scalar("coco:", pa.large_string()), numbers, pa.scalar("", pa.large_string())
    )


def _among(places: pa.Array, listed: pa.Array) -> pa.BooleanArray:
    """Which of these images are named on the list (N); null is not."""
    names = names_of(places)
    return pc.and_(pc.is_valid(names), pc.is_in(names, listed, skip_nulls=True))
