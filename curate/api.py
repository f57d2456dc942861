"""The commands as functions: what `import curate` offers, and what the command line calls.

Each takes what its command takes and raises what its command reports (`curate.errors`). A folder, file or manifest is
a string or a path object; `s3://…`, `gs://…` and `hf://…` are strings. Wrong types and unknown settings are
`ManifestError`s with the command line's words. People's output goes to standard error; `progress=False` silences it.
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar, cast, get_type_hints, overload

from curate.errors import ManifestError
from curate.results import (
    CalibrateResult,
    DiffResult,
    ExplainResult,
    ExportResult,
    FingerprintResult,
    PackResult,
    PreviewResult,
    RemoveResult,
    ReportResult,
    RunResult,
    TraceResult,
    VerifyResult,
    made,
)

if TYPE_CHECKING:
    from curate.engine.command import Options
    from curate.engine.journal import Request
    from curate.engine.progress import Progress

StrPath = str | os.PathLike[str]
StrPaths = StrPath | Sequence[StrPath]  # one, or a list of them

P = ParamSpec("P")
R = TypeVar("R")

COLUMNS = ("question", "answer", "answers")  # of evaluation sets, whose texts are fingerprinted
MODEL, TAG = "ViT-L-14", "openai"  # CLIP as published
PLAIN: Mapping[Any, Any] = {StrPath: str, StrPaths: list[str]}  # what arguments are turned into


def _checked(function: Callable[P, R]) -> Callable[P, R]:
    """The function with its arguments turned into the plain types that it works with.

    Raises:
        ManifestError: an argument is of another type than the function's parameter.
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        given, hints = signature.bind(*args, **kwargs), get_type_hints(function)
        for name, value in given.arguments.items():
            given.arguments[name] = _plain(f"curate.{function.__name__}: {name}", value, hints[name])
        return function(*given.args, **given.kwargs)

    return call


def _plain(who: str, value: Any, hint: Any) -> Any:
    """The argument as plain data: paths as strings, one path as a list where a list is taken."""
    import msgspec

    if hint == StrPaths and isinstance(value, str | os.PathLike):
        value = [value]
    if isinstance(value, Sequence) and not isinstance(value, str):
        value = [os.fspath(one) if isinstance(one, os.PathLike) else one for one in value]
    value = os.fspath(value) if isinstance(value, os.PathLike) else value
    try:
        return msgspec.convert(value, PLAIN.get(hint, hint))
    except msgspec.ValidationError as error:
        raise ManifestError(f"{who} is {value!r}: {error}") from None


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


@_checked
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
    view = _view(progress)
    _say_first(manifest, inputs, asked, view)
    if dry_run:
        from curate.engine.preview import preview

        return made(PreviewResult, preview(asked))
    return _execute(asked, str(out), _options(workers, address, overwrite, lease), view)


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


@_checked
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
    view = _view(progress)
    _say_first(manifest, inputs, asked, view)
    if dry_run:
        from curate.engine.preview import preview

        return made(PreviewResult, preview(asked))
    return _execute(asked, str(out), _options(workers, address, overwrite, lease), view)


@_checked
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

    Raises:
        ManifestError: there is no such rule, or it has no threshold.
        InputError: the inputs cannot be read, or the share cannot be reached.
    """
    from curate.calibrating import calibrate as measure
    from curate.calibrating import share_of

    shares = [keep] if isinstance(keep, int | float | str) else keep
    asked = _request(manifest, inputs, settings, seed, preset, limit, 1.0)
    return made(CalibrateResult, measure(asked, [share_of(one) for one in shares], _strings(rules), rows))


@_checked
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

    asked = again(str(folder), _strings(reasons), _strings(plugins), settings or {})
    return _execute(asked, str(out), Options(workers, address, overwrite, lease), _view(progress))


@_checked
def score(
    folder: StrPath,
    *,
    model: str = MODEL,
    pretrained: StrPath = "",
    device: str = "auto",
    precision: str = "auto",
    batch_size: int | str = "auto",
    features: bool = True,
    exact: bool = False,
    threshold: float | None = None,
    max_similarity: float | None = None,
    name: str = "",
    rescore: bool = False,
    workers: int | None = None,
    address: str | None = None,
    progress: bool = True,
) -> RunResult:
    """Give the shards of a finished run CLIP features and scores.

    Args:
        folder: the run's folder.
        model: open_clip's name, `hf-hub:OWNER/NAME`, or a folder.
        pretrained: the path of its weights, or open_clip's tag. Default: `openai` for ViT-L-14.
        device: `auto` (a GPU where there is one), `cpu`, `cuda` or `cuda:N`.
        precision: `auto`, `fp32`, `bf16` or `fp16`.
        batch_size: images at once; `auto` finds it by trial.
        features: keep the images' features beside the scores.
        exact: decode and resize exactly as open_clip does.
        threshold: drop rows with a lower score (cosine).
        max_similarity: drop images whose feature is closer than this (cosine) to an earlier one's.
        name: keep this scorer's findings beside the shards, by this name.
        rescore: replace what another scorer found.
        workers: models, on Ray. Default: one a GPU; without any, this process alone.
        address, progress: see `run`.

    Raises:
        CurateError: see `run`; shards that are done stay done.
    """
    from curate.manifest import load as manifests
    from curate.scoring.command import ScoreSettings
    from curate.scoring.command import score as score_shards

    weights = str(pretrained) or (TAG if model == MODEL else "")
    given = {"model": model, "pretrained": weights, "device": device, "batch_size": batch_size}
    given |= {"precision": precision, "features": features, "exact": exact}
    asked = ScoreSettings(
        scorer=manifests.scorer_settings(given),
        threshold=threshold,
        name=name,
        rescore=rescore,
        max_similarity=max_similarity,
    )
    return made(
        RunResult, score_shards(str(folder), asked, workers, address, _view(progress)), folder=str(folder)
    )


@_checked
def pack(
    folders: StrPaths,
    out: StrPath,
    *,
    seq_len: int = 2048,
    image_tokens: int = 256,
    tokenizer: StrPath = "",
    mix: StrPath = "",
    recipe: StrPath = "",
    scale: float = 1.0,
    seed: int = 0,
    truncate: bool = False,
    dialect: StrPath = "qwen-vl",
    dialect_settings: Sequence[str] = (),
    long_texts: Literal["cut", "drop"] = "cut",
    group: str = "",
    turns: int = 20,
    max_images: int = 0,
    max_patches: int = 0,
    workers: int | None = None,
    address: str | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> PackResult:
    """Mix shards of several tasks and pack them into training sequences.

    Args:
        folders: folders of shards, of any tasks.
        out: the folder of the packs.
        seq_len: tokens a sequence.
        image_tokens: tokens an image, beside its two markers.
        tokenizer: a tiktoken, tokenizer.json or SentencePiece file. Default: Qwen's.
        mix: a mix.toml, which weighs data sets and tasks. Default: every sample once.
        recipe: a training stage in its place (`qwen-vl-stage1`, or a .toml file), with its settings.
        scale: the share of the recipe's counts that is wanted.
        seed: the seed of the shuffle.
        truncate: cut samples that are too long, rather than drop them.
        dialect: how samples are written: a name, `NAME:PRESET`, or a .toml file (docs/dialects.md).
        dialect_settings: `KEY=VALUE` laid over the dialect, such as `cost.max_pixels=451584`.
        long_texts: what becomes of texts longer than a sequence: they are cut into pieces, or dropped.
        group: `image`: what is asked of one image is one sample, a dialogue.
        turns: questions of such a dialogue at most.
        max_images: images of a sequence, at most; 0: any number.
        max_patches: patches of a sequence's images, at most; 0: any number.
        overwrite: replace other packs in `out`.
        workers, address, progress: see `run`; the packs do not depend on them.

    Raises:
        CurateError: see `run`; the same call goes on.
    """
    from curate.packing import PackSettings
    from curate.packing import pack as pack_shards

    settings = PackSettings(
        seq_len=seq_len, image_tokens=image_tokens, tokenizer=str(tokenizer), mix=str(mix),
        recipe=str(recipe), scale=scale, seed=seed, truncate=truncate, dialect=str(dialect),
        dialect_settings=tuple(dialect_settings), long_texts=long_texts, max_images=max_images,
        group=cast(Literal["", "image"], group), turns=turns,
        max_patches=max_patches, overwrite=overwrite,
    )  # fmt: skip
    packed = pack_shards(_strings(folders), str(out), settings, workers, address, _view(progress))
    return made(PackResult, packed, folder=str(out))


@_checked
def export(
    folder: StrPath,
    to: str,
    out: StrPath,
    *,
    dialect: StrPath = "",
    dialect_settings: Sequence[str] = (),
    group: str = "",
    turns: int = 20,
    workers: int | None = None,
    address: str | None = None,
    progress: bool = True,
) -> ExportResult:
    """Hand the shards or packs in `folder` to another framework.

    Args:
        folder: a folder of shards or packs.
        to: webdataset, energon, mds or qwen-vl; or, in a dialect, qwen3-vl, llava, ms-swift or llama-factory.
        out: the folder of the export.
        dialect: how samples are written: a name, `NAME:PRESET`, or a .toml file. Default: the format's own.
        dialect_settings: `KEY=VALUE` laid over the dialect, such as `cost.max_pixels=451584`.
        group: `image`: what is asked of one image becomes a dialogue (the formats with dialogues alone).
        turns: questions of such a dialogue at most.
        workers, address, progress: see `run`; the export does not depend on them.

    Raises:
        CurateError: see `run`; the same call goes on.
    """
    from curate.exporting import export as export_shards

    exported = export_shards(
        str(folder), to, str(out), str(dialect), dialect_settings, group, turns,
        workers=workers, address=address, progress=_view(progress),
    )  # fmt: skip
    return made(ExportResult, exported, folder=str(out))


@_checked
def fingerprint(
    paths: StrPaths, out: StrPath, *, columns: Sequence[str] = COLUMNS, pictures: bool = True
) -> FingerprintResult:
    """Fingerprint the images and texts of evaluation sets into one file, for rules that keep them out of training.

    Args:
        paths: folders or files of images, tars, tables, Parquet, shards; globs and URIs as `run` takes them.
        out: the file, such as `evaluation.prints`.
        columns: the columns of tables whose texts count, a row's one after the other.
        pictures: keep a small picture of each image, to be shown in reports.

    Raises:
        ManifestError, InputError, OutputError: see `run`.
    """
    from curate.fingerprinting import fingerprint as make

    return made(FingerprintResult, make(_strings(paths), str(out), columns, pictures))


@_checked
def remove(folder: StrPath, list: StrPath, out: StrPath, *, reason: str = "on request") -> RemoveResult:
    """Write a new version of a finished run without what a list names, sharing all files that lose no row.

    Args:
        folder: the run's folder; it stays as it is.
        list: a text file, a line each: a key, a URL, an image's sha256, `host:example.org`, a URL that ends in `*`
            (all that begin so), or `key:`, `url:`, `sha256:`, `prefix:` before what it is.
        out: the folder of the new version.
        reason: what its tombstones say, beside the date.

    Raises:
        InputError, OutputError: see `run`.
        CurateError: nothing that is listed is there; nothing was written.
        Halted, Stopped: it came to an end too early; the same call goes on.
    """
    from curate.lineage.remove import remove as remove_rows

    return made(RemoveResult, remove_rows(str(folder), str(list), str(out), reason))


@_checked
def diff(folder: StrPath, other: StrPath, *, keys: StrPath = "") -> DiffResult:
    """Say how the finished run in `other` differs from that in `folder`: settings, counts by reason, keys of rows.

    `keys` is a Parquet file to write all keys to that were added, removed or changed.

    Raises:
        InputError, OutputError: see `run`.
    """
    from curate.lineage.diff import diff as compare

    return made(DiffResult, compare(str(folder), str(other), str(keys)))


@_checked
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

    return made(TraceResult, follow(str(pack), token_or_key, _strings(shards)))


@_checked
def report(folder: StrPath) -> ReportResult:
    """Write `report.html`, a data card and Croissant metadata into a finished run's folder.

    Raises:
        InputError, OutputError: it is no finished run's, or cannot be written to.
    """
    from curate.reporting import write

    return made(ReportResult, write(str(folder)))


@_checked
def explain(folder: StrPath, key_or_url: str) -> ExplainResult:
    """Say what became of the input with that key or URL, and which values decided.

    Raises:
        InputError: the folder holds no complete run, or a file of it cannot be read.
    """
    from curate.reporting.explain import explain as look

    return made(ExplainResult, look(str(folder), key_or_url))


@_checked
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
        return made(VerifyResult, mend(str(folder), _strings(plugins), workers, address))
    return made(VerifyResult, check(str(folder), workers, address))


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
    return request(loaded, _strings(inputs), limit, sample, select=select)


def _say_first(manifest: StrPath, inputs: StrPaths, asked: Request, view: Progress) -> None:
    """Say what a person should know before a run begins."""
    from curate.origins import kind_of

    if not inputs and asked.manifest.input.sample and not asked.manifest.input.uris:
        view.say(f"no --input: {manifest} runs on the small sample that ships with curate")
    if notice := kind_of(asked.manifest).notice(asked.manifest):
        view.say(notice)


def _options(workers: int | None, address: str | None, overwrite: bool, lease: bool) -> Options:
    from curate.engine.command import Options

    return Options(workers, address, overwrite, lease)


def _execute(asked: Request, out: str, options: Options, view: Progress) -> RunResult:
    from curate.engine.command import execute

    if options.workers is not None and options.workers < 0:
        raise ManifestError(f"workers must be at least 0, not {options.workers}")
    found = execute(asked, out, options, view)
    return made(RunResult, found, folder=out)


def _view(progress: bool) -> Progress:
    """What a person sees of a run, on standard error or below a notebook's cell."""
    from rich.console import Console

    from curate.engine.progress import Progress

    return Progress(Console(stderr=True, markup=False, emoji=False), quiet=not progress)


def _strings(paths: StrPaths) -> list[str]:
    return [str(one) for one in ([paths] if isinstance(paths, str | os.PathLike) else paths)]
