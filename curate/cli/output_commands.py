"""The commands that make something of a finished folder: score, pack, export, fingerprint, held-out, remove."""

from __future__ import annotations

from typing import Annotated, Literal, cast

import typer

from curate.cli.options import (
    Address,
    Dialect,
    DialectSet,
    Dir,
    Group,
    Json,
    Log,
    Metrics,
    Out,
    Overwrite,
    Turns,
    Workers,
)
from curate.cli.showing import (
    export_lines,
    finish_export,
    finish_pack,
    pack_lines,
    show_found,
    show_run,
    tell,
)

MODEL = "ViT-L-14"


def score(
    folder: Dir,
    model: Annotated[
        str, typer.Option(help="open_clip's name, hf-hub:OWNER/NAME, or a folder; none: only heads.")
    ] = MODEL,
    pretrained: Annotated[str, typer.Option(help="The path of the weights, or open_clip's tag.")] = "",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16 or fp16.")] = "auto",
    batch_size: Annotated[str, typer.Option(help="Images in a batch; auto finds it by trial.")] = "auto",
    features: Annotated[bool, typer.Option(help="Keep the images' features, besides the scores.")] = True,
    exact: Annotated[
        bool, typer.Option("--exact", help="Decode and resize exactly as open_clip does.")
    ] = False,
    threshold: Annotated[float | None, typer.Option(help="Drop rows with a lower score.")] = None,
    max_similarity: Annotated[
        float | None, typer.Option(help="Drop images more similar than this (cosine) to an earlier one.")
    ] = None,
    flags: Annotated[
        str, typer.Option(help="A .toml with [flags.NAME], [heads.NAME] and rules on them, as in a manifest.")
    ] = "",
    name: Annotated[str, typer.Option(help="Keep the results beside the shards, under this name.")] = "",
    rescore: Annotated[bool, typer.Option("--rescore", help="Replace another scorer's results.")] = False,
    workers: Annotated[
        int | None,
        typer.Option(min=0, help="Models at once, on Ray. Default: one for each GPU; without one, no Ray."),
    ] = None,
    address: Address = None,
    as_json: Json = False,
) -> None:
    """Give existing shards CLIP features and scores, on the GPU if there is one."""
    from curate import api

    scored = api.score(
        folder, model=model, pretrained=pretrained, device=device, precision=precision,
        batch_size=int(batch_size) if batch_size.isdigit() else batch_size, features=features, exact=exact,
        threshold=threshold, max_similarity=max_similarity, flags=flags, name=name, rescore=rescore, workers=workers,
        address=address,
    )  # fmt: skip
    show_run(scored, as_json)


def pack(
    folders: Annotated[list[str], typer.Argument(help="Folders of shards, of any tasks.")],
    out: Out,
    seq_len: Annotated[int, typer.Option(help="Tokens in a sequence.")] = 2048,
    image_tokens: Annotated[int, typer.Option(help="Tokens of an image, besides its two markers.")] = 256,
    tokenizer: Annotated[str, typer.Option(help="A tiktoken, tokenizer.json or SentencePiece file.")] = "",
    mix: Annotated[str, typer.Option(help="A mix.toml: weights by data set and task.")] = "",
    recipe: Annotated[
        str, typer.Option(help="Instead of --mix: qwen-vl-stage1, -stage2, -stage3, or a .toml file.")
    ] = "",
    scale: Annotated[float, typer.Option(help="The share of the recipe's counts to take.")] = 1.0,
    seed: Annotated[int, typer.Option(help="The seed of the shuffle.")] = 0,
    truncate: Annotated[bool, typer.Option("--truncate", help="Cut samples that are too long.")] = False,
    dialect: Dialect = "qwen-vl",
    dialect_set: DialectSet = None,
    long_texts: Annotated[
        str, typer.Option(help="Plain texts longer than a sequence: cut them into pieces, or drop them.")
    ] = "cut",
    group: Group = "",
    turns: Turns = 20,
    images: Annotated[
        str, typer.Option(help="embed them in the packs; reference: leave them in the shards; name: paths.")
    ] = "embed",
    max_images: Annotated[int, typer.Option(help="Most images in a sequence; 0: any number.")] = 0,
    max_patches: Annotated[int, typer.Option(help="Most image patches in a sequence; 0: any number.")] = 0,
    workers: Workers = None,
    address: Address = None,
    overwrite: Overwrite = False,
    log: Log = "text",
    metrics: Metrics = "",
    as_json: Json = False,
) -> None:
    """Mix shards of several tasks and pack them into training sequences."""
    from curate import api

    tell(log, metrics)
    packed = api.pack(
        folders, out, seq_len=seq_len, image_tokens=image_tokens, tokenizer=tokenizer, mix=mix, seed=seed,
        recipe=recipe, scale=scale, group=group, turns=turns,
        truncate=truncate, dialect=dialect, dialect_settings=dialect_set or [], max_images=max_images,
        images=cast(Literal["embed", "reference", "name"], images),
        long_texts=cast(Literal["cut", "drop"], long_texts), max_patches=max_patches, workers=workers, address=address,
        overwrite=overwrite,
    ).raw  # fmt: skip
    show_found(packed, lambda found: pack_lines(found, out), as_json)
    finish_pack(packed)


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
        typer.Option(help="The text format, for the last four of --to: NAME, NAME:PRESET or a .toml file."),
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
    """Convert shards or packs to the format of another framework."""
    from curate import api

    tell(log, metrics)
    made = api.export(
        folder, to, out, dialect=dialect, dialect_settings=dialect_set or [], group=group, turns=turns,
        workers=workers, address=address,
    ).raw  # fmt: skip
    show_found(made, lambda found: export_lines(found, to, out), as_json)
    finish_export(made)


def fingerprint(
    paths: Annotated[
        list[str],
        typer.Argument(help="Folders or files of images, tars, tables, Parquet, shards; globs and URIs."),
    ],
    out: Annotated[str, typer.Option("--out", help="The file to write: evaluation.prints")],
    columns: Annotated[
        str, typer.Option(help="The columns of tables with texts, separated by commas; empty: no texts.")
    ] = "question,answer,answers",
    pictures: Annotated[
        bool, typer.Option(help="Keep a small picture of each image, which reports show beside its copies.")
    ] = True,
    as_json: Json = False,
) -> None:
    """Write fingerprints of evaluation images and texts, with which rules keep them out of training data."""
    from curate import api
    from curate.fingerprinting import lines

    named = [name.strip() for name in columns.split(",") if name.strip()]
    show_found(api.fingerprint(paths, out, columns=named, pictures=pictures).raw, lines, as_json)


def held_out(
    paths: Annotated[
        list[str],
        typer.Argument(help="Files with a split: refs(unc).p, dataset_coco.json, tables; image_data.json."),
    ],
    out: Annotated[str, typer.Option("--out", help="The list to write: held-out.txt")],
    as_json: Json = False,
) -> None:
    """List the images that data sets hold out for validation and test, so that a rule drops them by name."""
    from curate import api
    from curate.fingerprinting.held_out import held_out_lines

    show_found(api.held_out(paths, out).raw, held_out_lines, as_json)


def remove(
    folder: Dir,
    out: Out,
    listed: Annotated[
        str | None,
        typer.Option(
            "--list",
            help="A text file; each line a key, a URL, an image's sha256, pdq:HASH, host:NAME or a URL that ends in *.",
        ),
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(
            help="A file of `curate fingerprint`: also remove what is in these sets; may be repeated."
        ),
    ] = None,
    reason: Annotated[
        str | None, typer.Option(help="The reason to write into the tombstones. Default: `on request`.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a new version of a finished run without rows that are listed or in evaluation sets.

    Exit 1 if there is no such row.
    """
    from curate import api
    from curate.lineage.remove import lines

    removed = api.remove(folder, listed, out, reason=reason, against=against or ())
    show_found(removed.raw, lines, as_json)
