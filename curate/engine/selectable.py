"""Check that `curate select` can be used: only with tables in which each row is one record."""

from __future__ import annotations

from curate.adapters.grit import has_phrases
from curate.adapters.published import lists_of_texts
from curate.errors import InputError, ManifestError
from curate.manifest.settings import Manifest
from curate.origins import Kind, Origin
from curate.origins.table_rows import Rows
from curate.sources import Input
from curate.storage.selected import SELECTED_COLUMNS


def check_selectable(manifest: Manifest, kind: Kind) -> None:
    """Check that each record of the manifest is one row of a table.

    `kind` says what the manifest's records are made from.

    Raises:
        ManifestError: records are pages or images that are drawn, or one row gives several of them.
    """
    if not kind.selects:
        raise ManifestError(
            f"{manifest.name} makes records of documents or seeds, and `curate select` keeps rows of tables: "
            "use `curate run`"
        )
    if manifest.input.explode or has_phrases(manifest.adapter, manifest.task):
        of = ", ".join(manifest.input.explode) or "its phrases"
        raise ManifestError(
            f"{manifest.name} makes several records of a row ({of}), and `curate select` keeps whole rows: "
            "use `curate run`"
        )


def check_columns(found: Input, origin: Origin, manifest: Manifest) -> None:
    """Check that an input is a table, with one text a row, and without columns that `curate select` would add.

    Raises:
        InputError: it is not.
    """
    if not isinstance(origin, Rows):
        raise InputError(f"{found.uri} is no table: `curate select` keeps rows of tables; use `curate run`")
    if lists := lists_of_texts(origin.schema, manifest):
        raise InputError(
            f"{found.uri}: {lists[0]!r} holds lists of texts, each a record, and `curate select` keeps whole rows: "
            "use `curate run`"
        )
    clash = [name for name in SELECTED_COLUMNS if name in origin.schema.names]
    if clash:
        raise InputError(
            f"{found.uri} has a column {clash[0]!r}, the name of one that `curate select` adds: rename it"
        )
