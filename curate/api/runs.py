"""Functions that read sources: run, select and retry, and calibrate, which measures rules before a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, overload

from curate.api.arguments import StrPath, StrPaths, checked, strings, view_of
from curate.errors import ManifestError
from curate.results import CalibrateResult, PreviewResult, RunResult, made

if TYPE_CHECKING:
    from curate.engine.command import Options
    from curate.engine.progress import Progress
    from curate.engine.request import Request


@overload
def run(
    manifest: StrPath,
    out: StrPath,
    inputs: StrPaths = (),
    *,
    limit: int | None = None,
    sample: float = 1.0,
    settings: Mapping[str, Any] | None = None,
    preset: str = "paper",
    workers: int | None = None,
    address: str | None = None,
    seed: int | None = None,
    overwrite: bool = False,
    lease: bool = True,
    dry_run: Literal[False] = False,
    progress: bool = True,
) -> RunResult: ...


@overload
def run(
    manifest: StrPath,
    out: StrPath,
    inputs: StrPaths = (),
    *,
    limit: int | None = None,
    sample: float = 1.0,
    settings: Mapping[str, Any] | None = None,
    preset: str = "paper",
    workers: int | None = None,
    address: str | None = None,
    seed: int | None = None,
    overwrite: bool = False,
    lease: bool = True,
    dry_run: Literal[True],
    progress: bool = True,
) -> PreviewResult: ...


@checked
def run(
    manifest: StrPath,
    out: StrPath,
    inputs: StrPaths = (),
    *,
    limit: int | None = None,
    sample: float = 1.0,
    settings: Mapping[str, Any] | None = None,
    preset: str = "paper",
    workers: int | None = None,
    address: str | None = None,
    seed: int | None = None,
    overwrite: bool = False,
    lease: bool = True,
    dry_run: bool = False,
    progress: bool = True,
) -> RunResult | PreviewResult:
    """Curate one data set into shards. A call with the same arguments goes on where an earlier one was stopped.

    Args:
        manifest: a built-in name (`curate list` names them) or the path of a `.toml`.
        out: the folder of the shards.
        inputs: files, folders, globs or URIs, in place of the manifest's. Default: the manifest's inputs; if it has
            none, the small sample that ships with curate.
        limit: take only this many rows, the first ones. Default: all.
        sample: take this share of the rows, 0 to 1; always the same rows.
        settings: manifest values by their path: `{"rules.image_too_small.min_side": 224}`.
        preset: `paper`, or another of the manifest's presets, which switches its rules on: `strict`.
        workers: worker processes, through Ray; 0: only this process. Default: one for each core; 0 if there are at most
            two cores, or fewer than three units to do.
        address: the address of a running Ray cluster.
        seed: the seed of all random choices. Default: the manifest's.
        overwrite: first remove what an earlier run wrote to `out`.
        lease: if `out` is on an object store, hold it by a lease. False: nothing stops two runs from writing to it.
        dry_run: make the plan and judge the first rows; write nothing.
        progress: show progress on standard error; a live view on a terminal and in a notebook.

    Raises:
        ManifestError, InputError, OutputError: the arguments, the manifest, an input or `out` is wrong; nothing was
            written.
        MachineError: this machine lacks something.
        UnitError, Halted, Stopped: the run ended before it was done; the same call goes on.
    """
    asked = _request(manifest, inputs, settings, seed, preset, limit, sample)
    view = view_of(progress)
    _say_first(manifest, inputs, asked, view)
    options = _options(workers, address, overwrite, lease)
    return _previewed(asked, view) if dry_run else _execute(asked, str(out), options, view)


@overload
def select(
    manifest: StrPath,
    out: StrPath,
    inputs: StrPaths = (),
    *,
    limit: int | None = None,
    sample: float = 1.0,
    settings: Mapping[str, Any] | None = None,
    preset: str = "paper",
    workers: int | None = None,
    address: str | None = None,
    seed: int | None = None,
    overwrite: bool = False,
    lease: bool = True,
    dry_run: Literal[False] = False,
    progress: bool = True,
) -> RunResult: ...


@overload
def select(
    manifest: StrPath,
    out: StrPath,
    inputs: StrPaths = (),
    *,
    limit: int | None = None,
    sample: float = 1.0,
    settings: Mapping[str, Any] | None = None,
    preset: str = "paper",
    workers: int | None = None,
    address: str | None = None,
    seed: int | None = None,
    overwrite: bool = False,
    lease: bool = True,
    dry_run: Literal[True],
    progress: bool = True,
) -> PreviewResult: ...


@checked
def select(
    manifest: StrPath,
    out: StrPath,
    inputs: StrPaths = (),
    *,
    limit: int | None = None,
    sample: float = 1.0,
    settings: Mapping[str, Any] | None = None,
    preset: str = "paper",
    workers: int | None = None,
    address: str | None = None,
    seed: int | None = None,
    overwrite: bool = False,
    lease: bool = True,
    dry_run: bool = False,
    progress: bool = True,
) -> RunResult | PreviewResult:
    """Select rows of a data set by the rules that need neither images nor the network.

    A call with the same arguments goes on where an earlier one was stopped. `out` gets the kept rows as Parquet: the
    source's own columns, unchanged, and `curate_key` and `curate_text`, the clean text.
    `curate.run(manifest, …, inputs=out)` goes on from there, with the same keys. Only data sets whose records are rows
    of tables can be selected from.

    Arguments and errors: see `run`.
    """
    asked = _request(manifest, inputs, settings, seed, preset, limit, sample, select=True)
    view = view_of(progress)
    _say_first(manifest, inputs, asked, view)
    options = _options(workers, address, overwrite, lease)
    return _previewed(asked, view) if dry_run else _execute(asked, str(out), options, view)


@checked
def calibrate(
    manifest: StrPath,
    inputs: StrPaths = (),
    *,
    keep: float | str | Sequence[float | str] = (),
    rules: StrPaths = (),
    rows: int = 200_000,
    limit: int | None = None,
    settings: Mapping[str, Any] | None = None,
    preset: str = "paper",
    seed: int | None = None,
    page: StrPath | None = None,
    progress: bool = True,
) -> CalibrateResult:
    """Measure on a sample what each rule drops, and find the thresholds that keep a share of the rows.

    Args:
        manifest: a built-in name or the path of a `.toml`.
        inputs: see `run`; also folders of shards that `curate.score` scored.
        keep: the share to keep, 0 to 1 or a text such as `"14%"`: one for all of `rules` together, or one for each of
            them: the share that is left after that rule. Default: no threshold is searched for.
        rules: the rules whose thresholds are searched for, in this order: `RULE`; `RULE.SETTING` if it has two.
        rows: rows of the sample, spread over all inputs; a tenth of them if the inputs hold the images, too.
        limit: look only at this many rows, the first ones. Default: all.
        settings, preset: see `run`.
        seed: the seed with which rows are drawn. Default: the manifest's.
        page: an HTML file to write the results to, with plots of each threshold. Default: none.
        progress: say on standard error if the manifest runs on its built-in sample.

    Raises:
        ManifestError: there is no such rule, or it has no threshold; or `page` is not a path on this machine.
        InputError: the inputs cannot be read, or the share cannot be reached.
        OutputError: `page` cannot be written.
    """
    from curate.calibrating import calibrate as measure
    from curate.calibrating import share_of
    from curate.reporting.calibration_page import page_place, write_page

    shares = [keep] if isinstance(keep, int | float | str) else keep
    place = None if page is None else page_place(str(page))
    asked = _request(manifest, inputs, settings, seed, preset, limit, 1.0)
    view = view_of(progress)
    _say_first(manifest, inputs, asked, view)
    found = measure(asked, [share_of(one) for one in shares], strings(rules), rows)
    view.say_waiting()
    if place is not None:
        write_page(found, place)
    return made(CalibrateResult, found)


@checked
def retry(
    folder: StrPath,
    reasons: StrPaths,
    out: StrPath,
    *,
    settings: Mapping[str, Any] | None = None,
    plugins: StrPaths = (),
    workers: int | None = None,
    address: str | None = None,
    overwrite: bool = False,
    lease: bool = True,
    progress: bool = True,
) -> RunResult:
    """Run again only the inputs of a finished run that were dropped for `reasons`, into another folder.

    Args:
        folder: the folder of the finished run.
        reasons: reasons, or patterns such as `http_*`.
        out: the folder of the new shards.
        settings: changes to the run's manifest, as for `run`.
        plugins: the plug-in files that the run used. They must be given, as curate runs no code only because a folder
            names it.
        workers, address, overwrite, lease, progress: see `run`.

    Raises:
        CurateError: see `run`.
    """
    from curate.engine.command import Options
    from curate.engine.retry import again

    asked = again(str(folder), strings(reasons), strings(plugins), settings or {})
    return _execute(asked, str(out), Options(workers, address, overwrite, lease), view_of(progress))


def _request(
    manifest: StrPath,
    inputs: StrPaths,
    settings: Mapping[str, Any] | None,
    seed: int | None,
    preset: str,
    limit: int | None,
    sample: float,
    select: bool = False,
) -> Request:
    """Load the manifest with its settings, find the inputs, and return the request."""
    from curate.engine.command import request
    from curate.manifest import load as manifests

    changes = dict(settings or {}) | ({} if seed is None else {"seed": seed})
    loaded = manifests.load(str(manifest), changes, preset)
    return request(loaded, strings(inputs), limit, sample, select=select)


def _say_first(manifest: StrPath, inputs: StrPaths, asked: Request, view: Progress) -> None:
    """Queue messages to show before progress begins: that the sample is used, and a notice of the manifest's origin."""
    from curate.origins import kind_of

    if not inputs and asked.manifest.input.sample and not asked.manifest.input.uris:
        view.say_before(f"no --input: {manifest} runs on the small sample that ships with curate")
    if notice := kind_of(asked.manifest).notice(asked.manifest):
        view.say_before(notice)


def _previewed(asked: Request, view: Progress) -> PreviewResult:
    from curate.engine.preview import preview

    found = preview(asked)
    view.say_waiting()
    return made(PreviewResult, found)


def _options(workers: int | None, address: str | None, overwrite: bool, lease: bool) -> Options:
    from curate.engine.command import Options

    return Options(workers, address, overwrite, lease)


def _execute(asked: Request, out: str, options: Options, view: Progress) -> RunResult:
    from curate.engine.command import execute

    if options.workers is not None and options.workers < 0:
        raise ManifestError(f"workers must be at least 0, not {options.workers}")
    found = execute(asked, out, options, view)
    return made(RunResult, found, folder=out)
