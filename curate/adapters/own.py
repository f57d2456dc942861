"""Adapters of plug-ins: the plug-in's function reshapes the published rows, then a built-in adapter reads them."""

from __future__ import annotations

import msgspec
import pyarrow as pa

from curate.errors import ManifestError, UnitError
from curate.manifest.settings import Manifest
from curate.plugins import OwnAdapter, registered
from curate.sources import DETAIL, PROBLEM, ROW


def own_adapter(manifest: Manifest) -> tuple[OwnAdapter | None, Manifest]:
    """Return the plug-in's adapter that the manifest names, and the manifest with that adapter's built-in one instead.

    If the manifest names a built-in adapter: None, and the manifest as it is.

    Raises:
        ManifestError: a plug-in of the manifest cannot be used.
    """
    own = registered(manifest.plugins).adapters.get(manifest.adapter)
    return own, manifest if own is None else msgspec.structs.replace(manifest, adapter=own.base)


def reshaped_schema(own: OwnAdapter | None, published: pa.Schema) -> pa.Schema:
    """Return the columns that the built-in adapter will get, found by a call of the plug-in with no rows.

    Raises:
        ManifestError: the plug-in's function fails on a table without rows.
    """
    if own is None:
        return published
    try:
        return own.schema(pa.schema([one for one in published if one.name not in (PROBLEM, DETAIL)]))
    except ValueError as error:
        raise ManifestError(f"adapter {own.name!r} of {own.owner.name}: {error}") from None


def reshaped(own: OwnAdapter | None, rows: pa.Table) -> pa.Table:
    """Return the rows as the plug-in's function reshapes them for the built-in adapter (N rows in, N out).

    The source's columns on broken rows and row numbers are kept from the plug-in, and added again.

    Raises:
        UnitError: the plug-in's function fails, or returns one of those columns.
    """
    if own is None:
        return rows
    ours = [name for name in (PROBLEM, DETAIL, ROW) if name in rows.column_names]
    made = own.reshape(rows.drop_columns(ours))
    for name in ours:
        if name in made.column_names:
            raise UnitError(f"adapter {own.name!r} of {own.owner.name} gives a column {name!r}")
        made = made.append_column(name, rows[name])
    return made
