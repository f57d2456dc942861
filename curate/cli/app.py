"""The command line. People's output goes to standard error; standard output carries results only.

Nothing costly is imported before a command needs it: `curate --help` is there at once.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from curate.children.no_pandas import hide_pandas
from curate.cli import faults
from curate.errors import CurateError, Stopped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from curate.results import PreviewResult, RunResult

app = typer.Typer(
    name="curate",
    help="Turn raw public data into training shards for vision-language models.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

UsageError: Any = typer.BadParameter.__base__  # click's, or the copy of it that newer Typers bring
MODEL = "ViT-L-14"

Inputs = Annotated[
    list[str] | None,
    typer.Option("--input", help="A file, folder, glob, s3://, gs://, hf:// or https://; may be repeated."),
]
ManifestName = Annotated[
    str, typer.Argument(help="A built-in name (see `curate list`) or the path of a .toml")
]
Dir = Annotated[str, typer.Argument(help="A run's folder, here or on an object store.")]
Out = Annotated[str, typer.Option("--out", help="Where the shards go: a folder, or s3://…")]
Set = Annotated[
    list[str] | None, typer.Option("--set", help="Change a manifest value: rules.text_too_long.max_chars=256")
]
Preset = Annotated[
    str, typer.Option(help="paper, or strict: switches on what the manifest keeps ready beyond the paper.")
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=0, help="Worker processes; 0: in this process, without Ray. Default: the cores; 0 for two."
    ),
]
Address = Annotated[str | None, typer.Option(help="The address of a running Ray cluster.")]
NoLease = Annotated[
    bool,
    typer.Option(
        "--no-lease", help="Take no lease on an object store's folder: nothing keeps two runs apart."
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Remove what an earlier run wrote there first.")]
Dialect = Annotated[
    str, typer.Option(help="How samples are written: a dialect's name, NAME:PRESET, or a .toml file.")
]
DialectSet = Annotated[
    list[str] | None,
    typer.Option("--dialect-set", help="Change a value of the dialect: cost.max_pixels=451584"),
]
Group = Annotated[
    str,
    typer.Option(help="image: what is asked of one image becomes one dialogue, so that it is shown once."),
]
Turns = Annotated[int, typer.Option(help="Questions of such a dialogue at most.")]
Plugins = Annotated[
    list[str] | None, typer.Option("--plugin", help="A plug-in file that the run used; may be repeated.")
]
Log = Annotated[str, typer.Option(help="text, or json: every line on standard error is a JSON object.")]
Metrics = Annotated[
    str, typer.Option(help="A file of metrics in Prometheus' text format, kept up to date meanwhile.")
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object on standard output.")]


def main() -> None:
    """Run the command; every expected error is one line on standard error and an exit code."""
    for number in (signal.SIGINT, signal.SIGTERM):  # stopped like by Ctrl-C: resumable, exit 130
        signal.signal(number, signal.default_int_handler)
    try:
        sys.exit(app(standalone_mode=False))
    except CurateError as error:
        faults.show(str(error), error.exit_code)
        sys.exit(error.exit_code)
    except UsageError as error:
        command = error.ctx.command_path if error.ctx else "curate"
        faults.show(f"{error.format_message().rstrip('.')} (see `{command} --help`)", error.exit_code)
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        faults.show("interrupted", Stopped.exit_code)
        sys.exit(Stopped.exit_code)
    except BrokenPipeError:
        sys.exit(1)
    except (OSError, MemoryError, RuntimeError, ImportError) as error:
        faults.leave(error)


@app.callback(invoke_without_command=True)
def options(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log a line for every unit.")] = False,
) -> None:
    """Options that come before the command."""
    if version:
        from curate.version import __version__

        print(__version__)
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help(), file=sys.stderr)
        raise typer.Exit(2)
    if not {"-h", "--help"} & set(sys.argv):
        hide_pandas()
    logging.basicConfig(level=logging.WARNING, format="curate: %(message)s")
    if verbose:
        logging.getLogger("curate").setLevel(logging.DEBUG)
    else:
        _hush()


def _hush() -> None:
    """Show nothing that a library says to its own developers; `--verbose` shows it."""
    import warnings

    warnings.simplefilter("ignore")
    ours = logging.getLogger("curate")
    ours.handlers, ours.propagate = logging.getLogger().handlers[:], False
    logging.getLogger().handlers = [logging.NullHandler()]


@app.command()
def run(
    manifest: ManifestName,
    out: Out,
    inputs: Inputs = None,
    limit: Annotated[
        int | None, typer.Option(help="Take only the first N rows; of PDFs and web pages, the first N pages.")
    ] = None,
    sample: Annotated[float, typer.Option(help="Take this share of the rows, always the same ones.")] = 1.0,
    settings: Set = None,
    preset: Preset = "paper",
    workers: Workers = None,
    address: Address = None,
    seed: Annotated[int | None, typer.Option(help="The seed of all that is drawn by lot.")] = None,
    overwrite: Overwrite = False,
    no_lease: NoLease = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the plan and some rows' fate; write nothing.")
    ] = False,
    log: Log = "text",
    metrics: Metrics = "",
    as_json: Json = False,
) -> None:
    """Curate one data set into shards. The same command goes on where a stopped one left off."""
    from curate import api
    from curate.manifest.load import assignments

    _tell(log, metrics)

    found = api.run(  # type: ignore[misc, call-overload]  # an overload takes True or False, not either
        manifest, out, inputs or (), limit=limit, sample=sample, settings=assignments(settings or ()),
        preset=preset, workers=workers, address=address, seed=seed, overwrite=overwrite,
        lease=not no_lease, dry_run=dry_run,
        progress=not as_json,
    )  # fmt: skip
    _show_made(found, as_json)


@app.command()
def select(
    manifest: ManifestName,
    out: Out,
    inputs: Inputs = None,
    limit: Annotated[int | None, typer.Option(help="Take only the first N rows.")] = None,
    sample: Annotated[float, typer.Option(help="Take this share of the rows, always the same ones.")] = 1.0,
    settings: Set = None,
    preset: Preset = "paper",
    workers: Workers = None,
    address: Address = None,
    seed: Annotated[int | None, typer.Option(help="The seed of all that is drawn by lot.")] = None,
    overwrite: Overwrite = False,
    no_lease: NoLease = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the plan and some rows' fate; write nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Keep rows of a data set by its metadata alone, as Parquet with its own columns; `run --input DIR` goes on."""
    from curate import api
    from curate.manifest.load import assignments

    found = api.select(  # type: ignore[misc, call-overload]  # an overload takes True or False, not either
        manifest, out, inputs or (), limit=limit, sample=sample, settings=assignments(settings or ()),
        preset=preset, workers=workers, address=address, seed=seed, overwrite=overwrite,
        lease=not no_lease, dry_run=dry_run, progress=not as_json,
    )  # fmt: skip
    _show_made(found, as_json)


@app.command()
def calibrate(
    manifest: ManifestName,
    inputs: Inputs = None,
    keep: Annotated[
        list[str] | None,
        typer.Option(help="The share of all rows to keep: 14%; may be repeated, one a --rule."),
    ] = None,
    rules: Annotated[
        list[str] | None,
        typer.Option(
            "--rule", help="The rule whose threshold is to be found: clip_score_too_low; may be repeated."
        ),
    ] = None,
    rows: Annotated[int, typer.Option(min=1, help="Rows of the sample.")] = 200_000,
    limit: Annotated[int | None, typer.Option(help="Look only at the first N rows.")] = None,
    settings: Set = None,
    preset: Preset = "paper",
    seed: Annotated[int | None, typer.Option(help="The seed by which rows are drawn.")] = None,
    as_json: Json = False,
) -> None:
    """Measure on a sample what each rule drops, and find the thresholds that keep a share of the rows."""
    from curate import api
    from curate.calibrating import lines
    from curate.manifest.load import assignments

    found = api.calibrate(
        manifest, inputs or (), keep=keep or (), rules=rules or (), rows=rows, limit=limit,
        settings=assignments(settings or ()), preset=preset, seed=seed,
    )  # fmt: skip
    _show(found.raw, lines, as_json)


@app.command()
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
    """Run again only the inputs that failed for those reasons, into a folder of their own."""
    from curate import api
    from curate.manifest.load import assignments

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
        progress=not as_json,
    )
    _finish(again, as_json)


@app.command()
def score(
    folder: Dir,
    model: Annotated[str, typer.Option(help="open_clip's name, hf-hub:OWNER/NAME, or a folder.")] = MODEL,
    pretrained: Annotated[str, typer.Option(help="The path of its weights, or open_clip's tag.")] = "",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16 or fp16.")] = "auto",
    batch_size: Annotated[str, typer.Option(help="Images at once; auto finds it by trial.")] = "auto",
    features: Annotated[bool, typer.Option(help="Keep the images' features beside the scores.")] = True,
    exact: Annotated[
        bool, typer.Option("--exact", help="Decode and resize exactly as open_clip does.")
    ] = False,
    threshold: Annotated[float | None, typer.Option(help="Drop rows with a lower score.")] = None,
    max_similarity: Annotated[
        float | None, typer.Option(help="Drop images whose feature is closer than this to an earlier one's.")
    ] = None,
    name: Annotated[str, typer.Option(help="Keep this scorer's findings beside the shards, by name.")] = "",
    rescore: Annotated[bool, typer.Option("--rescore", help="Replace what another scorer found.")] = False,
    workers: Annotated[
        int | None,
        typer.Option(min=0, help="Models, on Ray. Default: one a GPU; without any, this process alone."),
    ] = None,
    address: Address = None,
    as_json: Json = False,
) -> None:
    """Give existing shards CLIP features and scores, on the GPU where there is one."""
    from curate import api

    scored = api.score(
        folder, model=model, pretrained=pretrained, device=device, precision=precision,
        batch_size=int(batch_size) if batch_size.isdigit() else batch_size, features=features, exact=exact,
        threshold=threshold, max_similarity=max_similarity, name=name, rescore=rescore, workers=workers,
        address=address, progress=not as_json,
    )  # fmt: skip
    _show_run(scored, as_json)


@app.command()
def pack(
    folders: Annotated[list[str], typer.Argument(help="Folders of shards, of any tasks.")],
    out: Out,
    seq_len: Annotated[int, typer.Option(help="Tokens a sequence.")] = 2048,
    image_tokens: Annotated[int, typer.Option(help="Tokens an image, beside its two markers.")] = 256,
    tokenizer: Annotated[str, typer.Option(help="A tiktoken, tokenizer.json or SentencePiece file.")] = "",
    mix: Annotated[str, typer.Option(help="A mix.toml: weights by data set and task.")] = "",
    recipe: Annotated[
        str, typer.Option(help="A training stage in its place: qwen-vl-stage1, -stage2, -stage3, or a .toml.")
    ] = "",
    scale: Annotated[float, typer.Option(help="The share of the recipe's counts that is wanted.")] = 1.0,
    seed: Annotated[int, typer.Option(help="The seed of the shuffle.")] = 0,
    truncate: Annotated[bool, typer.Option("--truncate", help="Cut samples that are too long.")] = False,
    dialect: Dialect = "qwen-vl",
    dialect_set: DialectSet = None,
    long_texts: Annotated[
        str, typer.Option(help="Texts longer than a sequence: cut into consecutive pieces, or drop.")
    ] = "cut",
    group: Group = "",
    turns: Turns = 20,
    max_images: Annotated[int, typer.Option(help="Images a sequence, at most; 0: any number.")] = 0,
    max_patches: Annotated[int, typer.Option(help="Patches of a sequence's images; 0: any number.")] = 0,
    workers: Workers = None,
    address: Address = None,
    overwrite: Overwrite = False,
    log: Log = "text",
    metrics: Metrics = "",
    as_json: Json = False,
) -> None:
    """Mix shards of several tasks and pack them into training sequences."""
    from curate import api

    _tell(log, metrics)
    packed = api.pack(
        folders, out, seq_len=seq_len, image_tokens=image_tokens, tokenizer=tokenizer, mix=mix, seed=seed,
        recipe=recipe, scale=scale, group=group, turns=turns,
        truncate=truncate, dialect=dialect, dialect_settings=dialect_set or [], max_images=max_images,
        long_texts=cast(Literal["cut", "drop"], long_texts), max_patches=max_patches, workers=workers, address=address,
        overwrite=overwrite, progress=not as_json,
    ).raw  # fmt: skip
    if as_json:
        print(json.dumps(packed))
        return
    for task, of in packed["tasks"].items():
        print(
            f"{task}: {of['samples']:,} samples in {of['sequences']:,} sequences, {of['padding']:.1%} padding"
        )
    for reason, count in packed["dropped"].items():
        print(f"dropped: {reason} {count:,}")
    print(
        f"{packed['rows_out']:,} of {packed['rows_in']:,} samples in {len(packed['shards'])} packs in {out}"
    )


@app.command()
def export(
    folder: Annotated[str, typer.Argument(help="A folder of shards or packs.")],
    out: Out,
    to: Annotated[
        str,
        typer.Option(
            "--to", help="webdataset, energon, mds, qwen-vl, qwen3-vl, llava, ms-swift or llama-factory."
        ),
    ],
    dialect: Annotated[
        str,
        typer.Option(help="How samples are written, for the last four: NAME, NAME:PRESET or a .toml file."),
    ] = "",
    dialect_set: DialectSet = None,
    group: Group = "",
    turns: Turns = 20,
    workers: Workers = None,
    address: Address = None,
    log: Log = "text",
    metrics: Metrics = "",
    as_json: Json = False,
) -> None:
    """Hand shards or packs to another framework."""
    from curate import api

    _tell(log, metrics)
    made = api.export(
        folder, to, out, dialect=dialect, dialect_settings=dialect_set or [], group=group, turns=turns,
        workers=workers, address=address, progress=not as_json,
    ).raw  # fmt: skip
    if as_json:
        print(json.dumps(made))
        return
    for reason, count in made["dropped"].items():
        print(f"dropped: {reason} {count:,}")
    print(f"{made['rows_out']:,} of {made['rows_in']:,} rows as {to} in {out}")


@app.command()
def fingerprint(
    paths: Annotated[
        list[str],
        typer.Argument(help="Folders or files of images, tars, tables, Parquet, shards; globs and URIs."),
    ],
    out: Annotated[str, typer.Option("--out", help="The file to write: evaluation.prints")],
    columns: Annotated[
        str, typer.Option(help="The columns of tables whose texts count, joined by commas; empty: none.")
    ] = "question,answer,answers",
    pictures: Annotated[
        bool, typer.Option(help="Keep a small picture of each image, which reports show beside its copies.")
    ] = True,
    as_json: Json = False,
) -> None:
    """Fingerprint evaluation images and texts, so that rules keep them out of what is trained on."""
    from curate import api
    from curate.fingerprinting import lines

    named = [name.strip() for name in columns.split(",") if name.strip()]
    _show(api.fingerprint(paths, out, columns=named, pictures=pictures).raw, lines, as_json)


@app.command()
def remove(
    folder: Dir,
    listed: Annotated[
        str,
        typer.Option(
            "--list",
            help="A text file, one a line: a key, a URL, an image's sha256, host:NAME, a URL that ends in *.",
        ),
    ],
    out: Out,
    reason: Annotated[str, typer.Option(help="What the tombstones say, beside the date.")] = "on request",
    as_json: Json = False,
) -> None:
    """Write a new version of a finished run without what a list names; exit 1 where none of it is there."""
    from curate import api
    from curate.lineage.remove import lines

    _show(api.remove(folder, listed, out, reason=reason).raw, lines, as_json)


@app.command()
def trace(
    pack: Annotated[str, typer.Argument(help="A folder of packs, or one pack.")],
    token_or_key: Annotated[
        str,
        typer.Argument(help="A key; or SEQUENCE or SEQUENCE:TOKEN, numbers from 0, over the folder's packs."),
    ],
    shards: Annotated[
        list[str] | None,
        typer.Option(
            "--shards", help="A folder of shards to look in, instead of those packed; may be repeated."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Say which shard, source row and URL a packed sequence, token or key comes from. Exit 1 where it is unknown."""
    from curate import api
    from curate.reporting.trace import lines

    found = api.trace(pack, token_or_key, shards=shards or ())
    _show(found.raw, lines, as_json)
    if not any("shard" in one for one in found.samples):
        raise typer.Exit(1)


@app.command()
def diff(
    folder: Dir,
    other: Annotated[str, typer.Argument(help="The folder of another run, or of another version of it.")],
    keys: Annotated[str, typer.Option(help="A Parquet file for all keys that differ, and how.")] = "",
    as_json: Json = False,
) -> None:
    """Say how two finished runs differ: settings, counts by reason, keys added, removed and changed."""
    from curate import api
    from curate.lineage.diff import lines

    _show(api.diff(folder, other, keys=keys).raw, lines, as_json)


@app.command()
def report(folder: Dir, as_json: Json = False) -> None:
    """Write DIR/report.html: what was kept, what was dropped and why, and where the boxes are."""
    from curate import api
    from curate.reporting import lines

    _show(api.report(folder).raw, lines, as_json)


@app.command()
def explain(folder: Dir, key_or_url: Annotated[str, typer.Argument()], as_json: Json = False) -> None:
    """Say what became of one input: kept, and in which shard and row, or dropped, by which rule and value.

    Exit 1 where nothing is known of it.
    """
    from curate import api
    from curate.reporting.explain import lines

    told = api.explain(folder, key_or_url)
    _show(told.raw, lines, as_json)
    if told.fate == "unknown":
        raise typer.Exit(1)


@app.command()
def verify(
    folder: Dir,
    repair: Annotated[bool, typer.Option("--repair", help="Make damaged shards anew.")] = False,
    workers: Workers = None,
    address: Address = None,
    plugins: Plugins = None,
    as_json: Json = False,
) -> None:
    """Recompute every checksum and invariant; exit 1 and name each damaged file."""
    from curate import api
    from curate.verifying.command import lines

    found = api.verify(folder, repair=repair, plugins=plugins or (), workers=workers, address=address)
    _show(found.raw, lines, as_json)
    if found.damaged:
        raise typer.Exit(1)


@app.command("list")
def list_manifests(as_json: Json = False) -> None:
    """The built-in manifests."""
    from curate.manifest import load as manifests

    loaded = [manifests.load(name) for name in manifests.builtin()]
    if as_json:
        print(json.dumps([{"name": m.name, "task": m.task, "title": m.title} for m in loaded]))
        return
    for one in loaded:
        print(f"{one.name:13} {one.task:16} {one.title}")


@app.command()
def show(
    manifest: Annotated[str, typer.Argument(help="A built-in name or the path of a .toml")],
    settings: Set = None,
    preset: Preset = "paper",
    as_json: Json = False,
) -> None:
    """One manifest with every default filled in, as TOML."""
    from curate.manifest import load as manifests
    from curate.manifest.toml import to_toml

    loaded = manifests.load(manifest, settings or [], preset)
    print(json.dumps(loaded.resolved()) if as_json else to_toml(loaded))


@app.command()
def doctor(as_json: Json = False) -> None:
    """Say what of this machine is ready, and how to mend what is not."""
    from curate.cli.doctor import checks, report

    found = checks()
    if as_json:
        print(json.dumps(found))
    else:
        report(found)


def _tell(log: str, metrics: str) -> None:
    """Tell programs of progress, too: by lines of JSON, by a file of metrics.

    Raises:
        ManifestError: `log` is neither text nor json.
    """
    from curate.errors import ManifestError
    from curate.terminal import LOG, METRICS, JsonLines, logs_json

    if log not in ("text", "json"):
        raise ManifestError(f"--log must be text or json, not {log!r}")
    if log == "json":
        os.environ[LOG] = log
    if metrics:
        os.environ[METRICS] = metrics
    if logs_json():
        for handler in logging.getLogger("curate").handlers or logging.getLogger().handlers:
            handler.setFormatter(JsonLines())


def _show_made(found: RunResult | PreviewResult, as_json: bool) -> None:
    """Show a finished run, or what it would do."""
    from curate.results import RunResult

    if isinstance(found, RunResult):
        _finish(found, as_json)
        return
    from curate.engine.preview import lines

    _show(found.raw, lines, as_json)


def _finish(result: RunResult, as_json: bool) -> None:
    """Show a finished run.

    Raises:
        CurateError: rows of it could not be read.
    """
    _show_run(result, as_json)
    unreadable = result.dropped.get("unreadable", 0)
    if unreadable:
        raise CurateError(
            f"{unreadable} rows could not be read and are counted as dropped: mend the input and run again "
            "with --overwrite"
        )


def _show_run(result: RunResult, as_json: bool) -> None:
    """The result of a finished run: its manifest for a program, the funnel for a person."""
    from rich.console import Console

    from curate.engine.journal import took_s
    from curate.engine.progress import funnel
    from curate.terminal import bytes_said, duration_said, json_line, logs_json, plural

    if as_json:
        print(json.dumps(result.raw))
        return
    if logs_json():
        counts = {"rows_in": result.rows_in, "rows_out": result.rows_out, "dropped": result.dropped}
        line = json_line("info", "finished", event="finished", folder=result.folder, **counts)
        print(line, file=sys.stderr)
        return
    console = Console(stderr=True, markup=False, emoji=False, soft_wrap=True)
    console.print(funnel(result.raw))
    size = bytes_said(sum(shard["bytes"] for shard in result.shards))
    took = "" if "scored" in result.raw else f", took {duration_said(took_s(result.raw))}"
    noun = "part" if result.raw.get("kind") else "shard"
    console.print(f"{plural(len(result.shards), noun)} in {result.folder}, {size}{took}", highlight=False)


def _show(found: dict[str, Any], lines: Callable[[dict[str, Any]], Iterable[str]], as_json: bool) -> None:
    print(json.dumps(found) if as_json else "\n".join(lines(found)))
