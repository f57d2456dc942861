"""The commands that read sources: run, select, calibrate, retry."""

from __future__ import annotations

from typing import Annotated

import typer

from curate.cli.options import (
    Address,
    Dir,
    DryRun,
    Inputs,
    Json,
    Log,
    ManifestName,
    Metrics,
    NoLease,
    Out,
    Overwrite,
    Plugins,
    Preset,
    Sample,
    Seed,
    Set,
    Workers,
)
from curate.cli.showing import finish, show_found, show_made, tell


def run(
    manifest: ManifestName,
    out: Out,
    inputs: Inputs = None,
    limit: Annotated[
        int | None, typer.Option(help="Take only the first N rows; of PDFs and web pages, the first N pages.")
    ] = None,
    sample: Sample = 1.0,
    settings: Set = None,
    preset: Preset = "paper",
    workers: Workers = None,
    address: Address = None,
    seed: Seed = None,
    overwrite: Overwrite = False,
    no_lease: NoLease = False,
    dry_run: DryRun = False,
    log: Log = "text",
    metrics: Metrics = "",
    as_json: Json = False,
) -> None:
    """Curate one data set into shards. If the command was stopped, the same command goes on from there."""
    from curate import api
    from curate.manifest.given_values import assignments

    tell(log, metrics)

    found = api.run(  # type: ignore[misc, call-overload]  # an overload takes True or False, not either
        manifest, out, inputs or (), limit=limit, sample=sample, settings=assignments(settings or ()),
        preset=preset, workers=workers, address=address, seed=seed, overwrite=overwrite,
        lease=not no_lease, dry_run=dry_run,
    )  # fmt: skip
    show_made(found, as_json)


def select(
    manifest: ManifestName,
    out: Out,
    inputs: Inputs = None,
    limit: Annotated[int | None, typer.Option(help="Take only the first N rows.")] = None,
    sample: Sample = 1.0,
    settings: Set = None,
    preset: Preset = "paper",
    workers: Workers = None,
    address: Address = None,
    seed: Seed = None,
    overwrite: Overwrite = False,
    no_lease: NoLease = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Select rows of a data set by its metadata alone, as Parquet with its own columns; `run --input DIR` goes on."""
    from curate import api
    from curate.manifest.given_values import assignments

    found = api.select(  # type: ignore[misc, call-overload]  # an overload takes True or False, not either
        manifest, out, inputs or (), limit=limit, sample=sample, settings=assignments(settings or ()),
        preset=preset, workers=workers, address=address, seed=seed, overwrite=overwrite,
        lease=not no_lease, dry_run=dry_run,
    )  # fmt: skip
    show_made(found, as_json)


def calibrate(
    manifest: ManifestName,
    inputs: Inputs = None,
    keep: Annotated[
        list[str] | None,
        typer.Option(help="The share of all rows to keep: 14%; may be repeated, once for each --rule."),
    ] = None,
    rules: Annotated[
        list[str] | None,
        typer.Option("--rule", help="The rule whose threshold to find: clip_score_too_low; may be repeated."),
    ] = None,
    rows: Annotated[int, typer.Option(min=1, help="Rows of the sample.")] = 200_000,
    limit: Annotated[int | None, typer.Option(help="Look only at the first N rows.")] = None,
    settings: Set = None,
    preset: Preset = "paper",
    seed: Annotated[int | None, typer.Option(help="The seed with which rows are drawn.")] = None,
    page: Annotated[
        str | None, typer.Option(help="An HTML file to write the results to, with plots.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure on a sample what each rule drops, and find the thresholds that keep a share of the rows."""
    from curate import api
    from curate.calibrating import lines
    from curate.manifest.given_values import assignments

    found = api.calibrate(
        manifest, inputs or (), keep=keep or (), rules=rules or (), rows=rows, limit=limit,
        settings=assignments(settings or ()), preset=preset, seed=seed, page=page,
    )  # fmt: skip
    show_found(found.raw, lines, as_json)


def retry(
    folder: Dir,
    reasons: Annotated[str, typer.Option(help="The reasons to try again: timed_out,dns_failed,http_*")],
    out: Out,
    settings: Set = None,
    plugins: Plugins = None,
    workers: Workers = None,
    address: Address = None,
    overwrite: Overwrite = False,
    no_lease: NoLease = False,
    as_json: Json = False,
) -> None:
    """Run again only the inputs that were dropped for these reasons, into another folder."""
    from curate import api
    from curate.manifest.given_values import assignments

    wanted = [reason.strip() for reason in reasons.split(",") if reason.strip()]
    again = api.retry(
        folder,
        wanted,
        out,
        settings=assignments(settings or ()),
        plugins=plugins or (),
        workers=workers,
        address=address,
        overwrite=overwrite,
        lease=not no_lease,
    )
    finish(again, as_json)
