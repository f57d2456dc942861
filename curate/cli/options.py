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
    str, typer.Option(help="paper, or strict: switches on what the manifest keeps ready beyond the paper.")
]
Sample = Annotated[float, typer.Option(help="Take this share of the rows, always the same ones.")]
Seed = Annotated[int | None, typer.Option(help="The seed of all that is drawn by lot.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show the plan and some rows' fate; write nothing.")]
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
