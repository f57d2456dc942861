"""Rules on page images, by what their renderer tells of them in `extra`. A null stays null: not yet judged."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from filters.rule import rule


@rule("page_unstyled")
def page_unstyled(extra: pa.StringArray) -> pa.BooleanArray:
    """Keep web pages that kept their stylesheets, link none, or bring enough style of their own."""
    return pc.invert(pc.match_substring(extra, '"unstyled": true'))


@rule("page_mostly_blank")
def page_mostly_blank(extra: pa.StringArray, *, max_share: float) -> pa.BooleanArray:
    """Keep page images of whose 16 px squares at most the share `max_share` is of one colour.

    Null where the renderer does not tell it.

    Raises: ValueError: `max_share` is no share.
    """
    if not 0 <= max_share <= 1:
        raise ValueError(f"max_share = {max_share}: a share is from 0 to 1")
    share = pc.struct_field(pc.extract_regex(extra, '"blank": (?P<share>[0-9.]+)'), "share")
    return pc.less_equal(pc.cast(share, pa.float64()), max_share)
