"""An adapter of one's own: a plug-in's function reshapes the published rows, a built-in adapter does the rest."""

from __future__ import annotations

import msgspec
import pyarrow as pa

from curate.errors import ManifestError, UnitError
from curate.manifest.settings import Manifest
from curate.plugins import OwnAdapter, registered
from curate.sources import DETAIL, PROBLEM, ROW


def own_adapter(manifest: Manifest) -> tuple[OwnAdapter | None, Manifest]:
    """The plug-in's adapter that the manifest names, and the manifest with the built-in one that it stands on.

    Raises:
        ManifestError: a plug-in of the manifest is not in order.
    """
    own = registered(manifest.plugins).adapters.get(manifest.adapter)
    return own, manifest if own is None else msgspec.structs.replace(manifest, adapter=own.base)


def reshaped_schema(own: OwnAdapter | None, published: pa.Schema) -> pa.Schema:
    """The columns that the built-in adapter will get.

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
    """The rows (N in, N out) as the built-in adapter takes them; what the source says of broken rows stays.

    Raises:
        UnitError: the plug-in's function fails, or gives a column that is not its to give.
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
