"""Options and arguments that several commands take."""

from __future__ import annotations

from typing import Annotated

import typer

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
    str, typer.Option(help="paper; or strict, which adds the manifest's rules that go beyond the paper.")
]
Sample = Annotated[float, typer.Option(help="Take this share of the rows, 0 to 1; always the same rows.")]
Seed = Annotated[int | None, typer.Option(help="The seed of all random choices.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show the plan, judge some rows, write nothing.")]
Workers = Annotated[
    int | None,
    typer.Option(
        min=0, help="Worker processes; 0: only this one, no Ray. Default: one a core; 0 on at most 2."
    ),
]
Address = Annotated[str | None, typer.Option(help="The address of a running Ray cluster.")]
NoLease = Annotated[
    bool,
    typer.Option(
        "--no-lease", help="Take no lease on an object store: nothing stops two runs in one folder."
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Remove what an earlier run wrote there first.")]
Dialect = Annotated[
    str, typer.Option(help="The samples' text format: a dialect's name, NAME:PRESET, or a .toml file.")
]
DialectSet = Annotated[
    list[str] | None,
    typer.Option("--dialect-set", help="Change a value of the dialect: cost.max_pixels=451584"),
]
Group = Annotated[
    str,
    typer.Option(help="image: all questions about an image become one dialogue, which shows it once."),
]
Turns = Annotated[int, typer.Option(help="With --group: at most this many questions in a dialogue.")]
Plugins = Annotated[
    list[str] | None, typer.Option("--plugin", help="A plug-in file that the run used; may be repeated.")
]
Log = Annotated[str, typer.Option(help="text, or json: every line on standard error is a JSON object.")]
Metrics = Annotated[
    str, typer.Option(help="A file to keep up to date with metrics, in Prometheus' text format.")
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object on standard output.")]
