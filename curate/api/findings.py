"""Functions that examine finished folders: report, explain, trace, diff, verify."""

from __future__ import annotations

from curate.api.arguments import StrPath, StrPaths, checked, strings
from curate.results import DiffResult, ExplainResult, ReportResult, TraceResult, VerifyResult, made


@checked
def report(folder: StrPath) -> ReportResult:
    """Write `report.html`, a data card and Croissant metadata into a finished run's folder.

    Args:
        folder: the run's folder. Files that a person wrote there stay as they are.

    Raises:
        InputError: the folder holds no finished run, or a file of it cannot be read.
        OSError: the folder cannot be written to.
    """
    from curate.reporting import write

    return made(ReportResult, write(str(folder)))


@checked
def explain(folder: StrPath, key_or_url: str) -> ExplainResult:
    """Say what became of one input of a finished run, and which values decided.

    Args:
        folder: the run's folder.
        key_or_url: the row's key (32 hex digits), or the URL of its image.

    Raises:
        InputError: the folder holds no complete run, or a file of it cannot be read.
    """
    from curate.reporting.explain import explain as look

    return made(ExplainResult, look(str(folder), key_or_url))


@checked
def trace(pack: StrPath, token_or_key: str, *, shards: StrPaths = ()) -> TraceResult:
    """Say which rows of which shards, and which URLs, the samples of a packed sequence come from.

    Args:
        pack: a folder of packs, or one pack.
        token_or_key: SEQUENCE or SEQUENCE:TOKEN, numbers from 0; or a row's key, to find where it was packed.
        shards: folders of shards to look in. Default: those that the packs were made of.

    Raises:
        ManifestError: there is no such sequence or token.
        InputError: there are no packs, or a file cannot be read.
    """
    from curate.reporting.trace import trace as follow

    return made(TraceResult, follow(str(pack), token_or_key, strings(shards)))


@checked
def diff(folder: StrPath, other: StrPath, *, keys: StrPath = "") -> DiffResult:
    """Say how the finished run in `other` differs from that in `folder`: settings, counts by reason, keys of rows.

    Args:
        folder: the folder of one run.
        other: the folder of the other run.
        keys: a Parquet file to write, with all keys that were added, removed or changed. Default: none.

    Raises:
        InputError: a folder holds no finished run, or a file cannot be read.
        OutputError: `keys` cannot be written.
    """
    from curate.lineage.diff import diff as compare

    return made(DiffResult, compare(str(folder), str(other), str(keys)))


@checked
def verify(
    folder: StrPath,
    *,
    repair: bool = False,
    plugins: StrPaths = (),
    workers: int | None = None,
    address: str | None = None,
) -> VerifyResult:
    """Recompute every checksum and invariant of a finished run or of packs.

    Damage raises no exception: see the result's `damaged`.

    Args:
        folder: the folder of the run or of the packs.
        repair: make damaged shards again from the run's inputs.
        plugins: see `retry`; only a repair needs them.
        workers: processes that check a run's shards; 0: this process. Default: one for each core, if there are many
            shards.
        address: a Ray cluster that checks them.

    Raises:
        InputError: the folder holds neither a run nor packs, or it cannot be repaired.
        MachineError, UnitError: the shards cannot be checked with these workers.
    """
    from curate.verifying.command import verify as check
    from curate.verifying.repair import repair as mend

    if repair:
        return made(VerifyResult, mend(str(folder), strings(plugins), workers, address))
    return made(VerifyResult, check(str(folder), workers, address))
