"""Read from shards and files of dropped rows what the rules across the run compare: images, texts, redirects.

If redirects led from an image's URL to a file of another name, `extra` says where; if a rule across the run drops the
row, its detail says so instead. So this is known from a folder's files alone, even without its journal.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.engine.across import spill_rows
from curate.marking import scatter
from curate.storage.shards import read_columns
from curate.storage.store import Store

REDIRECTED_TO = "curate_redirected_to"  # field of `extra`
ACROSS_STAGE = "across"
PAIR = pa.schema([("image", pa.string()), ("text", pa.string())])
_DETAIL = re.compile(r"sha256=([0-9a-f]{64})(?: redirected_to=(.*))?", re.DOTALL)

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def with_redirects(extra: pa.Array, ends: pa.StringArray) -> pa.Array:
    """Add the field `curate_redirected_to` to JSON objects (N rows; null counts as an empty one).

    `ends` are the URLs at which redirects ended (N rows); rows that are null in it stay as they are.
    """
    places = pc.indices_nonzero(pc.is_valid(ends))
    if not len(places):
        return extra
    rows = zip(extra.take(places).to_pylist(), ends.take(places).to_pylist(), strict=True)
    said = [_with_field(text or "{}", end) for text, end in rows]
    return pc.coalesce(scatter(pa.array(said, extra.type), places, len(extra)), extra)


def pairs_of_shard(store: Store, name: str, phase: str) -> pa.Table:
    """Return, for each row of a shard, what a phase compares as its image and as its text (N rows of PAIR).

    These are the image's SHA-256 and the text; in the phase `redirects`, the URL at which redirects ended and the URL.
    """
    if phase == "redirects":
        rows = read_columns(store, name, ["extra", "url"])
        columns = [_redirects(rows["extra"].combine_chunks()), rows["url"]]
    else:
        rows = read_columns(store, name, ["sha256", "text"])
        columns = [rows["sha256"], rows["text"]]
    return pa.table(columns, schema=PAIR)


def pairs_of_fallen(store: Store, name: str, phase: str, others: Mapping[str, str] | None = None) -> pa.Table:
    """Return the same for the rows that rules across the run dropped, from a file of dropped rows, in its order.

    `others` has, by key, the `fallen_detail` of rows whose detail in the file is another one. None: there are none.
    """
    others = others or {}
    rows = read_columns(store, name, ["stage", "detail", "text", "url", "key"])
    rows = rows.filter(pc.equal(rows["stage"].cast(pa.string()), ACROSS_STAGE))
    is_redirects = phase == "redirects"
    said = zip(rows["key"].to_pylist(), rows["detail"].to_pylist(), strict=True)
    found = [_DETAIL.fullmatch(others.get(key, detail or "")) for key, detail in said]
    image = pa.array([one and one[1 + is_redirects] for one in found], pa.string())
    return pa.table([image, rows["url" if is_redirects else "text"]], schema=PAIR)


def spill_pairs(pairs: Iterable[pa.Table], unit: int) -> pa.Table:
    """Return the pairs of one unit (tables of PAIR) as rows of SPILL; `row` numbers them from 0."""
    table = pa.concat_tables([PAIR.empty_table(), *pairs]).combine_chunks()
    rows = pa.array(np.arange(table.num_rows))
    return spill_rows(table["image"].combine_chunks(), table["text"].combine_chunks(), unit, rows)


def fallen_detail(rows: pa.Table) -> pa.Array:
    """Return the details of rows that a rule across the run drops: what `pairs_of_fallen` reads again (N rows).

    A detail names the SHA-256 of the image, and the URL at which redirects ended.

    Args:
        rows: rows of a shard, with `sha256` and `extra`.
    """
    hashes = pc.binary_join_element_wise("sha256", rows["sha256"].combine_chunks(), "=")
    ends = _redirects(rows["extra"].combine_chunks())
    return pc.coalesce(pc.binary_join_element_wise(hashes, " redirected_to=", ends, ""), hashes)


def sha256_of(detail: str | None) -> str | None:
    """Return the image's SHA-256 (hex) from a detail that `fallen_detail` made; None for any other detail."""
    found = _DETAIL.fullmatch(detail or "")
    return found and found[1]


def _redirects(extra: pa.StringArray) -> pa.StringArray:
    """Return the URLs at which redirects ended (N rows); null for rows without that field."""
    places = pc.indices_nonzero(pc.match_substring(extra, f'"{REDIRECTED_TO}":').fill_null(False))
    ends = [_end(text) for text in extra.take(places).to_pylist()]
    return scatter(pa.array(ends, pa.string()), places, len(extra))


def _end(extra: str) -> str | None:
    said = _fields(extra).get(REDIRECTED_TO, b"null")
    end = msgspec.json.decode(said)
    return end if isinstance(end, str) else None


def _with_field(extra: str, end: str) -> str:
    fields = _fields(extra)
    fields[REDIRECTED_TO] = msgspec.Raw(msgspec.json.encode(end))
    return str(msgspec.json.encode(fields), "utf-8")
