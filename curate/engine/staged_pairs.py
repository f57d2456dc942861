"""What the rules across the run need of rows whose images are known: read from shards, and from files of dropped rows.

Where redirects led an image's address to a file of another name, `extra` says so, and later the detail of a row that
fell across the run. So it is known in any folder, whatever became of its journal.
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
    """JSON objects (N rows, null for an empty one) that say where redirects led, as far as `ends` (N) does."""
    places = pc.indices_nonzero(pc.is_valid(ends))
    if not len(places):
        return extra
    rows = zip(extra.take(places).to_pylist(), ends.take(places).to_pylist(), strict=True)
    said = [_with_field(text or "{}", end) for text, end in rows]
    return pc.coalesce(scatter(pa.array(said, extra.type), places, len(extra)), extra)


def pairs_of_shard(store: Store, name: str, phase: str) -> pa.Table:
    """What stands for the image and for the text of each row of a shard (N rows of PAIR) in a phase."""
    if phase == "redirects":
        rows = read_columns(store, name, ["extra", "url"])
        columns = [_redirects(rows["extra"].combine_chunks()), rows["url"]]
    else:
        rows = read_columns(store, name, ["sha256", "text"])
        columns = [rows["sha256"], rows["text"]]
    return pa.table(columns, schema=PAIR)


def pairs_of_fallen(store: Store, name: str, phase: str, others: Mapping[str, str] | None = None) -> pa.Table:
    """The same of the rows (N) in a file of dropped rows that fell across the run, in its order.

    `others` has by key the `fallen_detail` of those whose detail says something else; None: of none.
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
    """The pairs of one unit (tables of PAIR) as rows of SPILL; `row` counts them."""
    table = pa.concat_tables([PAIR.empty_table(), *pairs]).combine_chunks()
    rows = pa.array(np.arange(table.num_rows))
    return spill_rows(table["image"].combine_chunks(), table["text"].combine_chunks(), unit, rows)


def fallen_detail(rows: pa.Table) -> pa.Array:
    """What is written of rows (N, with `sha256` and `extra`) that fall across the run.

    It is all that `pairs_of_fallen` needs: the hash of the image, and where redirects led.
    """
    hashes = pc.binary_join_element_wise("sha256", rows["sha256"].combine_chunks(), "=")
    ends = _redirects(rows["extra"].combine_chunks())
    return pc.coalesce(pc.binary_join_element_wise(hashes, " redirected_to=", ends, ""), hashes)


def sha256_of(detail: str | None) -> str | None:
    """The hash of the image in such a detail; None where it is of another kind."""
    found = _DETAIL.fullmatch(detail or "")
    return found and found[1]


def _redirects(extra: pa.StringArray) -> pa.StringArray:
    """Where redirects led (N), null where nothing is said of it."""
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
