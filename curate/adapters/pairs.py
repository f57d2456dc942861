"""Pairs of image and text, as all nine image-text sets publish them."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from curate.adapters import values
from curate.adapters.extra import extra
from curate.adapters.identity import digests, keys, languages
from curate.adapters.mapping import first, found
from curate.errors import InputError
from curate.manifest import Manifest
from curate.schema import conform
from curate.sources import DETAIL, PROBLEM

STAGE = "read"
NOT_THE_NAME = r"[?#].*$|^[^?#]*/"  # all of an address but the last part of its path

ADDRESS = r"^(?i)https?://"


@dataclass(frozen=True)
class Pictures:
    """Where images are: their address, their bytes, their path (N rows each); None without a column."""

    url: pa.Array | None
    image: pa.Array | None
    path: pa.Array | None

    def ways(self) -> list[pa.Array]:
        """The columns that there are."""
        return [way for way in (self.url, self.image, self.path) if way is not None]


def pairs(batch: pa.Table, manifest: Manifest, source: str, first_row: int) -> pa.Table:
    """Raw rows as SAMPLE's columns (N rows in, N out), those of no use marked.

    Args:
        batch: rows of one input, as its source gave them.
        manifest: whose columns, key, only, language, image.folder and input.swapped_sides_with count.
        source: the input's name.
        first_row: the number of the batch's first row in the input.

    Raises:
        InputError: a column is missing that every row needs.
    """
    there = found(batch.column_names, manifest)
    raw = {ours: values.plain(batch[name]) for ours, name in there.items()}
    text, text_broken = values.text(raw["text"])
    text = values.trimmed(text)
    url, url_broken = values.text(raw["url"]) if "url" in raw else (None, None)
    pictures = _pictures(raw, url if url is None else values.trimmed(url), manifest)
    rows = batch.num_rows
    columns = {
        "key": _keys(batch, manifest, there, pictures, text),
        "dataset": pa.repeat(manifest.name, rows),
        "task": pa.repeat(manifest.task, rows),
        "language": languages(text) if manifest.language == "auto" else pa.repeat(manifest.language, rows),
        "url": pictures.url,
        "source": _sources(source, first_row, rows),
        "image": pictures.image,
        "image_path": pictures.path,
        **_sides(raw, batch, manifest),
        "text": text,
        "clip_score": values.cosine(raw["clip_score"]) if "clip_score" in raw else None,
        "extra": extra(batch, _others(batch, there)),
        "detail": values.plain(batch[DETAIL]) if DETAIL in batch.column_names else None,
    }
    columns |= _marks(
        rows,
        values.plain(batch[PROBLEM]).cast(pa.string()) if PROBLEM in batch.column_names else None,
        row_not_selected=_not_selected(batch, manifest),
        text_not_utf8=text_broken,
        text_missing=pc.is_null(text),
        url_not_utf8=url_broken,
        image_missing=_nowhere(pictures, rows) if "image" in raw else None,
        url_missing=_nowhere(pictures, rows),
    )
    return conform(pa.table({name: column for name, column in columns.items() if column is not None}))


def _pictures(raw: dict[str, pa.Array], url: pa.Array | None, manifest: Manifest) -> Pictures:
    """In a folder of images, an image without a path is known by the last part of its address.

    A path that is an address is taken for one where there is no column of addresses.
    """
    image, path = values.image(raw["image"]) if "image" in raw else (None, None)
    if url is None and path is not None:
        url = pc.if_else(pc.match_substring_regex(path, ADDRESS), path, pa.scalar(None, path.type))
    if not manifest.image.folder:
        return Pictures(url, image, None)
    named = values.image(raw["image_path"])[1] if "image_path" in raw else None
    last = None if url is None else values.trimmed(pc.replace_substring_regex(url, NOT_THE_NAME, ""))
    ways = [way for way in (path, named, last) if way is not None]
    return Pictures(url, image, pc.coalesce(*ways) if ways else None)


def _nowhere(pictures: Pictures, rows: int) -> pa.Array:
    """True where a row has neither an address nor bytes nor a path (N rows)."""
    out = pa.repeat(True, rows)
    for way in pictures.ways():
        out = pc.and_(out, pc.is_null(way))
    return out


def _keys(
    batch: pa.Table, manifest: Manifest, there: dict[str, str], pictures: Pictures, text: pa.Array
) -> pa.Array:
    """Each row's key. Where an image has no address its path stands for it, else its bytes do."""
    address = [way for way in (pictures.url, pictures.path) if way is not None]
    if pictures.image is not None and (not address or pc.coalesce(*address).null_count):
        address.append(digests(pictures.image))
    nowhere = pa.nulls(batch.num_rows, pa.large_string())
    ours = {"url": pc.coalesce(*address, nowhere), "text": text}
    parts = []
    for name in manifest.key:
        published = there.get(name) or first(batch.column_names, (name,))
        if name not in ours and published is None:
            raise InputError(f"no column {name!r}, which the manifest's key needs")
        parts.append(ours[name] if name in ours else values.text(batch[published])[0])
    return keys(manifest.name, parts)


def _sides(raw: dict[str, pa.Array], batch: pa.Table, manifest: Manifest) -> dict[str, pa.Array | None]:
    """Width and height; LAION's originals, known by a column, have each under the other's name."""
    sides = {name: values.size(raw[name]) for name in ("width", "height") if name in raw}
    width, height = sides.get("width"), sides.get("height")
    mark = manifest.input.swapped_sides_with
    swapped = mark and first(batch.column_names, (mark,))
    return {"width": height, "height": width} if swapped else {"width": width, "height": height}


def _sources(source: str, first_row: int, rows: int) -> pa.Array:
    numbers = pa.array(range(first_row, first_row + rows), pa.int64()).cast(pa.string())
    return pc.binary_join_element_wise(source, numbers, "#")


def _others(batch: pa.Table, there: dict[str, str]) -> list[str]:
    used = {PROBLEM, DETAIL, *there.values()}
    return [name for name in batch.column_names if name not in used]


def _not_selected(batch: pa.Table, manifest: Manifest) -> pa.Array | None:
    """True where a column says that the row is of another set; None where no such column is (N rows)."""
    out = None
    for name, wanted in manifest.only.items():
        published = first(batch.column_names, (name,))
        if published is not None:
            given = values.text(batch[published])[0]
            other = pc.invert(pc.is_in(given, pa.array(wanted, given.type)))
            out = other if out is None else pc.or_(out, other)
    return out


def _marks(rows: int, problem: pa.Array | None, **reasons: pa.Array | None) -> dict[str, pa.Array]:
    """The first reason that holds for each row, and where it was found (N rows each)."""
    none = pa.scalar(None, pa.string())
    dropped = pa.nulls(rows, pa.string()) if problem is None else problem
    for reason, holds in reasons.items():
        if holds is not None:
            dropped = pc.coalesce(dropped, pc.if_else(holds, reason, none))
    return {"dropped": dropped, "stage": pc.if_else(pc.is_valid(dropped), STAGE, none)}
