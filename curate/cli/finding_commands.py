"""The commands that examine finished folders: report, explain, trace, diff, verify."""

from __future__ import annotations

from typing import Annotated

import typer

from curate.cli.options import Address, Dir, Json, Plugins, Workers
from curate.cli.showing import show_found


def report(folder: Dir, as_json: Json = False) -> None:
    """Write DIR/report.html: what was kept, what was dropped and why, and where the boxes are."""
    from curate import api
    from curate.reporting import lines

    show_found(api.report(folder).raw, lines, as_json)


def explain(folder: Dir, key_or_url: Annotated[str, typer.Argument()], as_json: Json = False) -> None:
    """Say what became of one input: kept, in which shard and row; or dropped, for which reason and value.

    Exit 1 if nothing is known about it.
    """
    from curate import api
    from curate.reporting.explain import lines

    told = api.explain(folder, key_or_url)
    show_found(told.raw, lines, as_json)
    if told.fate == "unknown":
        raise typer.Exit(1)


def trace(
    pack: Annotated[str, typer.Argument(help="A folder of packs, or one pack.")],
    token_or_key: Annotated[
        str,
        typer.Argument(help="A row's key; or SEQUENCE or SEQUENCE:TOKEN, counted from 0 over all the packs."),
    ],
    shards: Annotated[
        list[str] | None,
        typer.Option(
            "--shards", help="A folder of shards to look in, not those that were packed; may be repeated."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Say which shard, source row and URL a packed sequence, token or key comes from. Exit 1 if that is unknown."""
    from curate import api
    from curate.reporting.trace import lines

    found = api.trace(pack, token_or_key, shards=shards or ())
    show_found(found.raw, lines, as_json)
    if not any("shard" in one for one in found.samples):
        raise typer.Exit(1)


def diff(
    folder: Dir,
    other: Annotated[str, typer.Argument(help="The folder of another run, or of another version of it.")],
    keys: Annotated[str, typer.Option(help="A Parquet file to write all keys to that differ.")] = "",
    as_json: Json = False,
) -> None:
    """Say how two finished runs differ: settings, counts by reason, keys added, removed and changed."""
    from curate import api
    from curate.lineage.diff import lines

    show_found(api.diff(folder, other, keys=keys).raw, lines, as_json)


def verify(
    folder: Dir,
    repair: Annotated[bool, typer.Option("--repair", help="Make damaged shards again.")] = False,
    workers: Workers = None,
    address: Address = None,
    plugins: Plugins = None,
    as_json: Json = False,
) -> None:
    """Recompute every checksum and invariant; exit 1 and name each damaged file."""
    from curate import api
    from curate.verifying.command import lines

    found = api.verify(folder, repair=repair, plugins=plugins or (), workers=workers, address=address)
    show_found(found.raw, lines, as_json)
    if found.damaged:
        raise typer.Exit(1)
