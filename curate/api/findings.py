"""What can be learnt of finished folders: what they hold, what became of an input, how two differ, what is damaged."""

from __future__ import annotations

from curate.api.arguments import StrPath, StrPaths, checked, strings
from curate.results import DiffResult, ExplainResult, ReportResult, TraceResult, VerifyResult, made


@checked
def report(folder: StrPath) -> ReportResult:
    """Write `report.html`, a data card and Croissant metadata into a finished run's folder.

    Raises:
        InputError, OutputError: it is no finished run's, or cannot be written to.
    """
    from curate.reporting import write

    return made(ReportResult, write(str(folder)))


@checked
def explain(folder: StrPath, key_or_url: str) -> ExplainResult:
    """Say what became of the input with that key or URL, and which values decided.

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
        token_or_key: a key: where it was packed; or SEQUENCE or SEQUENCE:TOKEN, numbers from 0.
        shards: folders of shards to look in. Default: those that the packs were made of.

    Raises:
        ManifestError: there is no such sequence or token.
        InputError: no packs, or a file that cannot be read.
    """
    from curate.reporting.trace import trace as follow

    return made(TraceResult, follow(str(pack), token_or_key, strings(shards)))


@checked
def diff(folder: StrPath, other: StrPath, *, keys: StrPath = "") -> DiffResult:
    """Say how the finished run in `other` differs from that in `folder`: settings, counts by reason, keys of rows.

    `keys` is a Parquet file to write all keys to that were added, removed or changed.

    Raises:
        InputError, OutputError: see `run`.
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
    """Recompute every checksum and invariant of a finished run or of packs; `repair` makes damaged shards anew.

    `plugins`: see `retry`; only a repair needs them. `workers` (processes; 0: this one) and `address` (of a Ray
    cluster) say who checks the shards of a run; without them, every core where there are many shards. Damage is no
    exception here: see the result's `damaged`.

    Raises:
        InputError: the folder holds neither; or it cannot be repaired.
        MachineError, UnitError: the shards cannot be checked there.
    """
    from curate.verifying.command import verify as check
    from curate.verifying.repair import repair as mend

    if repair:
        return made(VerifyResult, mend(str(folder), strings(plugins), workers, address))
    return made(VerifyResult, check(str(folder), workers, address))
