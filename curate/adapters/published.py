"""What every adapter does: published rows, with the columns that it made of them, become SAMPLE's."""

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
NOT_THE_NAME = r"[?#].*$|^[^?#]*/"  # all of an address but the last part of its path
ADDRESS = r"^(?i)https?://"

Text = tuple[pa.Array, pa.Array | None]  # texts, and true where one was not UTF-8 (None: all were)
Reasons = Mapping[str, pa.Array | None]  # reason to true where it holds (N rows); None: nowhere


@dataclass(frozen=True)
class ImageColumns:
    """Where images are: their address, their bytes, their path (N rows each); None without a column."""

    url: pa.Array | None
    image: pa.Array | None
    path: pa.Array | None

    def ways(self) -> list[pa.Array]:
        """The columns that there are."""
        return [way for way in (self.url, self.image, self.path) if way is not None]


@dataclass(frozen=True)
class Published:
    """N rows as their publisher gives them, one a record."""

    table: pa.Table
    manifest: Manifest
    source: pa.Array  # input#row, and /item where a row holds several
    there: Mapping[str, str]  # our columns that there are, each with its published name

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def raw(self, ours: str) -> pa.Array | None:
        """One of our columns as it was published (N rows); None where it is not there."""
        return values.plain(self.table[self.there[ours]]) if ours in self.there else None

    def text(self, ours: str) -> Text:
        """A column as text, trimmed (N rows, null without it), and true where it was not UTF-8.

        Rows without it have the next of its published names that they have: tars and JSON Lines may mix them.
        """
        if ours not in self._texts:
            self._texts[ours] = self._text(ours)
        return self._texts[ours]

    @cached_property
    def _texts(self) -> dict[str, Text]:
        """The columns that were read as text so far."""
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
        """The columns that go by other names of ours than the one that was found, in the manifest's order."""
        wanted = self.manifest.columns.get(ours, (ours,))
        names = dict.fromkeys(first(self.table.column_names, (name,)) for name in wanted)
        return [name for name in names if name is not None and name not in self.there.values()]

    def field(self, ours: str) -> pa.Field:
        """What the source says of a column that is there."""
        field: pa.Field = self.table.schema.field(self.there[ours])
        return field

    @cached_property
    def pictures(self) -> ImageColumns:
        """In a folder of images, an image without a path is known by the last part of its address.

        A path that is an address is taken for one where there is no column of addresses.
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

        LAION's originals, known by a column, have each under the other's name.
        """
        none = pa.nulls(len(self), pa.int32())
        raw = [self.raw(name) for name in ("width", "height")]
        width, height = (none if side is None else values.size(side) for side in raw)
        mark = self.manifest.input.swapped_sides_with
        swapped = mark and first(self.table.column_names, (mark,))
        return (height, width) if swapped else (width, height)


def published(batch: pa.Table, manifest: Manifest, source: str, first_row: int) -> Published:
    """The rows of one input, from its row number `first_row` on; nested lists are unfolded.

    Raises:
        InputError: a column is missing that every row needs.
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
        if not manifest.input.explode:  # a list of one text is as good as a text
            several = pa.array(np.bincount(parent, minlength=1)[parent] > 1)
        number = pc.if_else(several, item, number)
    name = pc.binary_join_element_wise(source, number, "#")
    return Published(table, manifest, name, found(table.column_names, manifest))


def _with_problems(table: pa.Table, batch: pa.Table, parent: np.ndarray) -> pa.Table:
    """The records with the problems of their rows, and no others: one without a text is told so by its adapter."""
    table = table.drop_columns([name for name in (PROBLEM, DETAIL) if name in table.column_names])
    for name in (PROBLEM, DETAIL):
        if name in batch.column_names:
            table = table.append_column(name, batch[name].take(pa.array(parent)))
    return table


def _with_texts(table: pa.Table, name: str) -> pa.Table:
    """The records with a column of texts, though none of the lists held one."""
    if name in table.column_names:
        return table
    return table.append_column(name, pa.nulls(table.num_rows, pa.large_string()))


def lists_of_texts(schema: pa.Schema, manifest: Manifest) -> tuple[str, ...]:
    """The column of pairs' texts where each row has a list of them: each text is a record, with the row's image.

    A column of JSON is one too: lists of texts and of other values. An object, or a value of another kind, is no text.
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
    """SAMPLE of published rows (N rows), and the published columns that the manifest's rules read.

    `made` are the columns that an adapter makes; `reasons` come before those of the image, in their order;
    `identity` stands for the key's columns where the input has none of them.

    Raises:
        InputError: a column is missing that the key needs.
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
    """Why a row has no image."""
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
    """Each row's key. Where an image has no address its path stands for it, else its bytes do.

    A row without any of what the key is made of, such as a broken line, is known by its place.
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
    """True where a column says that the row is of another set; None where no such column is (N rows)."""
    out = None
    for name, wanted in rows.manifest.only.items():
        there = first(rows.table.column_names, (name,))
        if there is not None:
            given = values.text(rows.table[there])[0]
            other = pc.invert(pc.is_in(given, pa.array(wanted, given.type)))
            out = other if out is None else pc.or_(out, other)
    return out


def _marks(rows: Published, reasons: Reasons) -> dict[str, pa.Array]:
    """The first reason that holds for each row, and where it was found (N rows each)."""
    none = pa.scalar(None, pa.string())
    dropped = pa.nulls(len(rows), pa.string())
    if PROBLEM in rows.table.column_names:
        dropped = values.plain(rows.table[PROBLEM]).cast(pa.string())
    for reason, holds in reasons.items():
        if holds is not None:
            dropped = pc.coalesce(dropped, pc.if_else(holds, reason, none))
    return {"dropped": dropped, "stage": pc.if_else(pc.is_valid(dropped), STAGE, none)}
