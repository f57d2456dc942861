"""The source's columns that a manifest's rules read: check before a run that they exist, and pass them to the rules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

import filters
from curate.adapters import values
from curate.adapters.mapping import first
from curate.errors import InputError, nearest
from curate.manifest.settings import Manifest
from curate.sources.input_index import JSON

MAY_LACK = ("LANGUAGE",)  # LAION has it only in files of several languages
KNOWN_PARTS = ("url", "text")  # parts of a key that every row has, from whichever column
IDENTIFIED = (
    "questions",
    "regions",
)  # adapters that make a key of other values if the source has none of its columns


def columns_of(manifest: Manifest) -> dict[str, str]:
    """Return the switched-on rules that judge a column of the source: the rule's name → the column's name."""
    active: Mapping[str, Mapping[str, Any]] = manifest.active_rules()
    on_models = manifest.rules_on_models()
    found = {name: filters.published_column(name, of) for name, of in active.items() if name not in on_models}
    return {name: column for name, column in found.items() if column is not None}


def check_columns(schema: pa.Schema, manifest: Manifest) -> None:
    """Check that the source has every column that the manifest's rules read, with a type that a rule can judge.

    Fields of lists that are unfolded later (`input.explode`) are not known yet; `with_columns` looks for them.

    Raises:
        InputError: a column is missing (the message names the most similar one), or no rule can judge its type; a
            column of the manifest's `key` or `only` is missing; or the source has a column `flags` or `heads`, and the
            manifest has settings of that name.
    """
    _check_key(schema, manifest)
    _check_only_columns(schema, manifest)
    for group, of in (("flags", manifest.flags), ("heads", manifest.heads)):
        if of and first(schema.names, (group,)) is not None:
            raise InputError(
                f"the input has a column {group!r}: 'extra' needs that name for the results of the manifest's [{group}]"
            )
    for rule, column in columns_of(manifest).items():
        if column.partition(".")[0] in manifest.input.explode:
            continue
        kind = _type_of(schema, column)
        if kind is None and rule in filters.RULES:  # such a rule works without it
            continue
        if kind is not None and _is_json(schema, column) and rule not in filters.RULES:
            raise InputError(
                f"rule {rule!r} reads the column {column!r} of JSON lists or objects: rules read lists of numbers from "
                "Parquet only; convert the input"
            )
        if kind is None and _is_json(schema, column.partition(".")[0]):
            raise InputError(
                f"rule {rule!r} reads the field {column!r} of a JSON object: rules read fields of objects from Parquet "
                "only; convert the input, or give the field a column of its own"
            )
        if kind is None:
            known = _leaves(schema)
            raise InputError(
                f"rule {rule!r} reads the column {column!r}, and there is none"
                f"{nearest(column, known)}; the input has: {', '.join(sorted(known)[:30]) or 'none'}"
            )
        if not filters.is_judgeable(kind) or (rule in filters.RULES and filters.column.is_list(kind)):
            raise InputError(
                f"rule {rule!r} cannot judge the column {column!r}, which holds {kind}: it takes numbers, texts, "
                "booleans, lists of these, or a field of a struct (COLUMN.FIELD)"
            )


def _check_key(schema: pa.Schema, manifest: Manifest) -> None:
    """Check that the source has the columns of the manifest's `key`, as far as the adapter makes keys of them.

    Raises:
        InputError: a column is missing.
    """
    there = {name: first(schema.names, (*manifest.columns.get(name, ()), name)) for name in manifest.key}
    missing = [name for name, found in there.items() if found is None and name not in KNOWN_PARTS]
    if not missing or manifest.input.explode:
        return
    if manifest.adapter in IDENTIFIED and len(missing) == len(there):
        return
    names = sorted({*_leaves(schema), *KNOWN_PARTS})
    raise InputError(f"no column {missing[0]!r}, which the manifest's key needs{nearest(missing[0], names)}")


def _check_only_columns(schema: pa.Schema, manifest: Manifest) -> None:
    """Check that the source has the columns by which `only` selects rows: without one, no row would be left out.

    Raises:
        InputError: a column is missing.
    """
    for name in manifest.only:
        if name in MAY_LACK or name.partition(".")[0] in manifest.input.explode:
            continue
        if first(schema.names, (name,)) is None:
            shown = ", ".join(sorted(schema.names)[:30]) or "none"
            hint = nearest(name, schema.names)
            raise InputError(
                f"only.{name} selects rows by a column that there is not{hint}; the input has: {shown}"
            )


def with_columns(table: pa.Table, published: pa.Table, manifest: Manifest) -> pa.Table:
    """Add the columns that rules read to the samples, as `published:NAME` (N rows).

    Args:
        table: samples.
        published: the published columns of the same rows.
        manifest: its rules name the columns.

    Raises:
        InputError: a column is missing.
    """
    for rule, column in columns_of(manifest).items():
        name = filters.PREFIX + column
        if name in table.column_names:
            continue
        found = _find(published, column)
        if found is None and rule in filters.RULES:
            found = pa.nulls(table.num_rows)
        if found is None:
            raise InputError(f"rule {rule!r} reads the column {column!r}, and there is none")
        table = table.append_column(name, found)
    return table


def without_values(table: pa.Table, manifest: Manifest) -> pa.Table:
    """Add the columns that rules read, all null, to samples whose published values could not be read (N rows)."""
    for column in columns_of(manifest).values():
        if filters.PREFIX + column not in table.column_names:
            table = table.append_column(filters.PREFIX + column, pa.nulls(table.num_rows))
    return table


def _find(table: pa.Table, column: str) -> pa.Array | None:
    """Return the column, or the field COLUMN.FIELD of a struct, as one array (N rows); None if there is none."""
    whole = first(table.column_names, (column,))
    if whole is not None:
        return values.plain(table[whole])
    outer, _, field = column.partition(".")
    name = first(table.column_names, (outer,))
    return _field(values.plain(table[name]), field) if name is not None and field else None


def _field(found: pa.Array, path: str) -> pa.Array | None:
    """Return a field of structs, or of lists of structs, by its path `FIELD.FIELD…` (N rows); None if there is none."""
    if filters.column.is_list(found.type):
        inside = _field(found.values, path)
        return None if inside is None else _list_like(found, inside)
    if not pa.types.is_struct(found.type):
        return None
    outer, _, rest = path.partition(".")
    name = first([field.name for field in found.type], (outer,))
    if name is None:
        return None
    inside = pc.struct_field(found, name)
    return _field(inside, rest) if rest else inside


def _list_like(lists: pa.Array, items: pa.Array) -> pa.Array:
    """Return lists of the same lengths as `lists`, null in the same rows, with other items."""
    if pa.types.is_fixed_size_list(lists.type):
        return pa.FixedSizeListArray.from_arrays(items, lists.type.list_size, mask=lists.is_null())
    return type(lists).from_arrays(lists.offsets, items, mask=lists.is_null() if lists.offset == 0 else None)


def _type_of(schema: pa.Schema, column: str) -> pa.DataType | None:
    found = _find(schema.empty_table(), column)
    return None if found is None else found.type


def _is_json(schema: pa.Schema, column: str) -> bool:
    """Return whether the column exists and holds objects, or lists of others than texts, as JSON texts."""
    name = first(schema.names, (column,))
    return name is not None and schema.field(name).metadata == JSON


def _leaves(schema: pa.Schema) -> list[str]:
    """Return the names of all published columns; a struct gives COLUMN.FIELD for each of its fields."""

    def walk(prefix: str, fields: Iterable[pa.Field]) -> Iterable[str]:
        for field in fields:
            kind = field.type.value_type if filters.column.is_list(field.type) else field.type
            if pa.types.is_struct(kind):
                yield from walk(f"{prefix}{field.name}.", kind)
            else:
                yield f"{prefix}{field.name}"

    return [name for name in walk("", schema) if not name.startswith("curate.")]
