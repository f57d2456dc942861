"""From sources to a folder: run, select and retry, and calibrate, which measures before them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, overload

from curate.api.arguments import StrPath, StrPaths, checked, strings, view_of
from curate.errors import ManifestError
from curate.results import CalibrateResult, PreviewResult, RunResult, made

if TYPE_CHECKING:
    from curate.engine.command import Options
    from curate.engine.journal import Request
    from curate.engine.progress import Progress


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
    """Curate one data set into shards; called again in the same words, it goes on where it was stopped.

    Args:
        manifest: a built-in name (`curate list` names them) or the path of a `.toml`.
        out: the folder of the shards.
        inputs: files, folders, globs or URIs in the place of the manifest's; without any it runs on its sample.
        limit: take only the first rows, so many. Default: all.
        sample: take this share of the rows, 0 to 1, always the same ones.
        settings: manifest values by their path: `{"rules.image_too_small.min_side": 224}`.
        preset: `paper`, or another of the manifest's presets, whose rules are switched on: `strict`.
        workers: worker processes, through Ray; 0: in this process. Default: the cores, 0 for two.
        address: the address of a running Ray cluster.
        seed: the seed of all that is drawn by lot. Default: the manifest's.
        overwrite: remove what an earlier run wrote to `out` first.
        lease: hold a folder on an object store by a lease; False: nothing keeps two runs on it apart.
        dry_run: plan, and judge the first rows; write nothing.
        progress: tell on standard error how far it is; a live view on a terminal and in a notebook.

    Raises:
        ManifestError, InputError, OutputError: what was asked for is wrong; nothing was written.
        MachineError: this machine lacks something.
        UnitError, Halted, Stopped: it came to an end too early; the same call goes on.
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
    """Select rows of a data set by all that needs no image and no network; called again, it goes on.

    `out` gets the kept rows as Parquet, with the source's own columns as they were, and `curate_key` and `curate_text`,
    the clean text. `curate.run(manifest, …, inputs=out)` goes on from there, with the same keys.
    The arguments and what is raised: see `run`. Rows of tables alone can be selected.
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
        keep: shares to keep, 0 to 1 or texts such as `"14%"`: one for all of `rules`, or one for each.
        rules: the rules whose thresholds are to be found, in this order: `RULE`, or `RULE.SETTING` where there are two.
        rows: rows of the sample, spread over all inputs; a tenth of it where rows come with their images.
        limit: look only at the first rows, so many. Default: all.
        settings, preset: see `run`.
        seed: the seed by which rows are drawn. Default: the manifest's.
        page: a file for the findings with plots of each threshold, as one HTML page. Default: none.
        progress: say on standard error where a manifest runs on its sample.

    Raises:
        ManifestError: there is no such rule, or it has no threshold; or `page` is no file of this machine.
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
    """Run again only the inputs of a finished run that were dropped for `reasons`, into a folder of their own.

    A reason may be a pattern, such as `http_*`. `settings` change the run's manifest. `plugins` are the plug-in files
    that the run used: code that a folder names is never run by itself.
    The other arguments and what is raised: see `run`.
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
    """What is asked of a manifest."""
    from curate.engine.command import request
    from curate.manifest import load as manifests

    changes = dict(settings or {}) | ({} if seed is None else {"seed": seed})
    loaded = manifests.load(str(manifest), changes, preset)
    return request(loaded, strings(inputs), limit, sample, select=select)


def _say_first(manifest: StrPath, inputs: StrPaths, asked: Request, view: Progress) -> None:
    """Have said what a person should know once a run begins."""
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
