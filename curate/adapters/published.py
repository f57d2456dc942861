"""What all adapters share: find the published columns, and build SAMPLE's columns from them and the adapter's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.adapters import values
from curate.adapters.extra import extra
from curate.adapters.mapping import first, found
from curate.adapters.published_columns import with_columns
from curate.adapters.row_keys import digests, keys, languages
from curate.adapters.unfold import unfold
from curate.errors import InputError
from curate.manifest.settings import Manifest
from curate.schema import conform
from curate.sources import DETAIL, PROBLEM, ROW
from curate.sources.input_index import JSON
from curate.tasks.formats import CONVERSATION
from filters.column import is_list

STAGE = "read"
NOT_THE_NAME = r"[?#].*$|^[^?#]*/"  # matches everything in a URL except the last part of its path
ADDRESS = r"^(?i)https?://"

Text = tuple[pa.Array, pa.Array | None]  # texts, and true where one was not valid UTF-8 (None: nowhere)
Reasons = Mapping[str, pa.Array | None]  # reason → true for the rows to drop for it (N rows); None: no row


@dataclass(frozen=True)
class ImageColumns:
    """Where each row's image is: its URL, its encoded bytes, its local path (N rows each); None without a column."""

    url: pa.Array | None
    image: pa.Array | None
    path: pa.Array | None

    def ways(self) -> list[pa.Array]:
        """Return the columns that exist."""
        return [way for way in (self.url, self.image, self.path) if way is not None]


@dataclass(frozen=True)
class Published:
    """N rows with their published columns, one for each record."""

    table: pa.Table
    manifest: Manifest
    source: pa.Array  # INPUT#ROW, or INPUT#ROW/ITEM where a published row gives several records
    there: Mapping[str, str]  # curate's columns that the input gives, each with its published name

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def raw(self, ours: str) -> pa.Array | None:
        """Return curate's column `ours` with the published values (N rows); None if the input does not have it."""
        return values.plain(self.table[self.there[ours]]) if ours in self.there else None

    def text(self, ours: str) -> Text:
        """Return curate's column `ours` as trimmed text (N rows; null without one), and where it was not valid UTF-8.

        Where a row has no text in the published column, the next column that the manifest names for `ours` is used: in
        tars and JSON Lines, rows can differ in the name that they use.
        """
        if ours not in self._texts:
            self._texts[ours] = self._text(ours)
        return self._texts[ours]

    @cached_property
    def _texts(self) -> dict[str, Text]:
        """The columns that were read as text so far: a cache of `text`."""
        return {}

    def _text(self, ours: str) -> Text:
        raw = self.raw(ours)
        if raw is None:
            return pa.nulls(len(self), pa.large_string()), None
        text, broken = values.text(raw)
        text = values.trimmed(text)
        for name in self._other_names(ours) if text.null_count else ():
            other, also = values.text(values.plain(self.table[name]))
            taken = pc.and_(pc.is_null(text), pc.is_valid(other := values.trimmed(other)))
            text = pc.coalesce(text, other)
            if also is not None:
                none = pa.repeat(False, len(self)) if broken is None else broken
                broken = pc.or_(none, pc.and_(taken, also))
        return text, broken

    def _other_names(self, ours: str) -> list[str]:
        """Return the published columns that the manifest names for `ours`, after the one found first, in its order."""
        wanted = self.manifest.columns.get(ours, (ours,))
        names = dict.fromkeys(first(self.table.column_names, (name,)) for name in wanted)
        return [name for name in names if name is not None and name not in self.there.values()]

    def field(self, ours: str) -> pa.Field:
        """Return the Arrow field (name, type, metadata) of curate's column `ours`, which the input must have."""
        field: pa.Field = self.table.schema.field(self.there[ours])
        return field

    @cached_property
    def pictures(self) -> ImageColumns:
        """Where each row's image is.

        Paths count only if the manifest has an `image.folder`; a row without a path is then looked for by the last part
        of its URL's path. If the input has no column of URLs, a path that is a URL is used as one.
        """
        given = self.raw("image")
        image, path = values.image(given) if given is not None else (None, None)
        url = self.text("url")[0] if "url" in self.there else None
        if url is None and path is not None:
            url = pc.if_else(pc.match_substring_regex(path, ADDRESS), path, pa.scalar(None, path.type))
        if not self.manifest.image.folder:
            return ImageColumns(url, image, None)
        named = values.path(given) if (given := self.raw("image_path")) is not None else None
        last = None if url is None else values.trimmed(pc.replace_substring_regex(url, NOT_THE_NAME, ""))
        ways = [way for way in (path, named, last) if way is not None]
        return ImageColumns(url, image, pc.coalesce(*ways) if ways else None)

    @cached_property
    def sides(self) -> tuple[pa.Array, pa.Array]:
        """Width and height in pixels (N rows each), null where unknown.

        They are swapped if the input has the column `input.swapped_sides_with`: LAION's original files have the width
        in the column of the height, and the height in that of the width.
        """
        none = pa.nulls(len(self), pa.int32())
        raw = [self.raw(name) for name in ("width", "height")]
        width, height = (none if side is None else values.size(side) for side in raw)
        mark = self.manifest.input.swapped_sides_with
        swapped = mark and first(self.table.column_names, (mark,))
        return (height, width) if swapped else (width, height)


def published(batch: pa.Table, manifest: Manifest, source: str, first_row: int) -> Published:
    """Return the records of a batch of rows: one for each row, or one for each item of the lists that are unfolded.

    Args:
        batch: raw rows of one input.
        manifest: `input.explode` names the lists to unfold; without it a list of texts is unfolded.
        source: the input's name.
        first_row: the number of the batch's first row in the input, from 0.

    Raises:
        InputError: the input lacks a column that every row needs.
    """
    lists = manifest.input.explode or lists_of_texts(batch.schema, manifest)
    table, parent, rank = unfold(batch, lists)
    place = batch[ROW].to_numpy()[parent] if ROW in batch.column_names else parent + first_row
    number = pa.array(place).cast(pa.string())
    if lists and not manifest.input.explode:
        table = _with_texts(_with_problems(table, batch, parent), lists[0])
    if table is not batch:
        item = pc.binary_join_element_wise(number, pa.array(rank).cast(pa.string()), "/")
        several = pa.repeat(True, len(parent))
        if not manifest.input.explode:  # a list of one text is treated like a text: no item number
            several = pa.array(np.bincount(parent, minlength=1)[parent] > 1)
        number = pc.if_else(several, item, number)
    name = pc.binary_join_element_wise(source, number, "#")
    return Published(table, manifest, name, found(table.column_names, manifest))


def _with_problems(table: pa.Table, batch: pa.Table, parent: np.ndarray) -> pa.Table:
    """Return the records with the problems that the source found in their rows, and not those that unfolding found.

    A record without a text gets its reason from the adapter.
    """
    table = table.drop_columns([name for name in (PROBLEM, DETAIL) if name in table.column_names])
    for name in (PROBLEM, DETAIL):
        if name in batch.column_names:
            table = table.append_column(name, batch[name].take(pa.array(parent)))
    return table


def _with_texts(table: pa.Table, name: str) -> pa.Table:
    """Return the records with a column `name`: if no list had an item, unfolding made none, and it is all null."""
    if name in table.column_names:
        return table
    return table.append_column(name, pa.nulls(table.num_rows, pa.large_string()))


def lists_of_texts(schema: pa.Schema, manifest: Manifest) -> tuple[str, ...]:
    """Return the name of the text column, alone, if the adapter is `pairs` and the column holds lists of texts.

    Each text of such a list becomes a record with the row's image. Else the result is empty. A column of JSON counts,
    too, as its values can be lists; objects and values that are not text give no text.
    """
    name = first(schema.names, manifest.columns.get("text", ("text",)))
    if manifest.adapter != "pairs" or name is None:
        return ()
    field = schema.field(name)
    if field.metadata == JSON:
        return (name,)
    return (name,) if is_list(field.type) and values.is_text(field.type.value_type) else ()


def sample(
    rows: Published, made: Mapping[str, pa.Array], reasons: Reasons, identity: Sequence[pa.Array] = ()
) -> pa.Table:
    """Build SAMPLE's columns of published rows, and the columns `published:NAME` that the manifest's rules read.

    Args:
        rows: N published rows.
        made: the columns that the adapter made, by SAMPLE's names (N rows each); `text` must be one of them.
        reasons: why rows are dropped; a row gets the first that holds. Those about the image are added behind.
        identity: what the key is made of, besides URL and text, if the input has none of the manifest's key columns.

    Raises:
        InputError: the key needs a column that is missing.
    """
    manifest, pictures = rows.manifest, rows.pictures
    text, count = made["text"], len(rows)
    key = _keys(rows, made, identity)
    width, height = rows.sides
    columns = {
        "key": key,
        "dataset": pa.repeat(manifest.name, count),
        "task": pa.repeat(manifest.task, count),
        "language": languages(text) if manifest.language == "auto" else pa.repeat(manifest.language, count),
        "url": pictures.url,
        "source": rows.source,
        "image": pictures.image,
        "image_path": pictures.path,
        "width": width,
        "height": height,
        "extra": extra(rows.table, _others(rows)),
        "detail": values.plain(rows.table[DETAIL]) if DETAIL in rows.table.column_names else None,
        **made,
    }
    no_id = pc.is_null(rows.text("id")[0]) if "id" in manifest.key and "id" in rows.there else None
    marks = {"row_not_selected": _not_selected(rows), "id_missing": no_id, **reasons, **_of_images(rows)}
    columns |= _marks(rows, marks)
    made = conform(pa.table({name: column for name, column in columns.items() if column is not None}))
    return with_columns(made, rows.table, manifest)


def _of_images(rows: Published) -> Reasons:
    """Return the reasons for which a row has no usable image; none for tasks on text and for dialogues."""
    if rows.manifest.task in ("text", CONVERSATION):
        return {}
    nowhere = pa.repeat(True, len(rows))
    for way in rows.pictures.ways():
        nowhere = pc.and_(nowhere, pc.is_null(way))
    in_table = "image" in rows.there or (rows.manifest.image.folder and "url" not in rows.there)
    return {
        "url_not_utf8": rows.text("url")[1],
        "image_missing": nowhere if in_table else None,
        "url_missing": nowhere,
    }


def _keys(rows: Published, made: Mapping[str, pa.Array], identity: Sequence[pa.Array]) -> pa.Array:
    """Return each row's key (N rows). An image without a URL is identified by its path, else by a hash of its bytes.

    A row in which all parts of the key are null, such as a broken line, is identified by its source and row number.
    """
    manifest, pictures = rows.manifest, rows.pictures
    address = [way for way in (pictures.url, pictures.path) if way is not None]
    if pictures.image is not None and (not address or pc.coalesce(*address).null_count):
        address.append(digests(pictures.image))
    ours = {"url": pc.coalesce(*address, pa.nulls(len(rows), pa.large_string())), "text": made["text"]}
    names = {name: rows.there.get(name) or first(rows.table.column_names, (name,)) for name in manifest.key}
    if identity and not any(names[name] or name in ours for name in manifest.key):
        return keys(manifest.name, [*ours.values(), *identity])
    for name, there in names.items():
        if name not in ours and there is None:
            raise InputError(f"no column {name!r}, which the manifest's key needs")
    parts = [ours[n] if n in ours else values.text(rows.table[names[n]])[0] for n in manifest.key]
    known = keys(manifest.name, parts)
    nothing = pc.is_null(pc.coalesce(*parts))
    if not pc.any(nothing, min_count=0).as_py():
        return known
    places = rows.source.cast(pa.large_string()).filter(nothing)
    return pc.replace_with_mask(known, nothing, keys(manifest.name, [places]))


def _others(rows: Published) -> list[str]:
    used = {PROBLEM, DETAIL, ROW, *rows.there.values()}
    return [name for name in rows.table.column_names if name not in used]


def _not_selected(rows: Published) -> pa.Array | None:
    """Return true for rows that `only` excludes by a column's value (N rows); None if the input has no such column."""
    out = None
    for name, wanted in rows.manifest.only.items():
        there = first(rows.table.column_names, (name,))
        if there is not None:
            given = values.text(rows.table[there])[0]
            other = pc.invert(pc.is_in(given, pa.array(wanted, given.type)))
            out = other if out is None else pc.or_(out, other)
    return out


def _marks(rows: Published, reasons: Reasons) -> dict[str, pa.Array]:
    """Return the columns `dropped`, the first reason that holds for a row, and `stage` (N rows each)."""
    none = pa.scalar(None, pa.string())
    dropped = pa.nulls(len(rows), pa.string())
    if PROBLEM in rows.table.column_names:
        dropped = values.plain(rows.table[PROBLEM]).cast(pa.string())
    for reason, holds in reasons.items():
        if holds is not None:
            dropped = pc.coalesce(dropped, pc.if_else(holds, reason, none))
    return {"dropped": dropped, "stage": pc.if_else(pc.is_valid(dropped), STAGE, none)}
