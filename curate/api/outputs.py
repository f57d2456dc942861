"""Functions that make something from finished folders: score, pack, export, fingerprint, remove."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, cast

from curate.api.arguments import StrPath, StrPaths, checked, strings, view_of
from curate.results import (
    ExportResult,
    FingerprintResult,
    HeldOutResult,
    PackResult,
    RemoveResult,
    RunResult,
    made,
)

COLUMNS = ("question", "answer", "answers")  # columns of evaluation sets whose texts are fingerprinted
MODEL, TAG = "ViT-L-14", "openai"  # the original CLIP, by open_clip's names


@checked
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
    flags: StrPath = "",
    name: str = "",
    rescore: bool = False,
    workers: int | None = None,
    address: str | None = None,
    progress: bool = True,
) -> RunResult:
    """Give the shards of a finished run CLIP features and scores.

    Args:
        folder: the run's folder.
        model: open_clip's name, `hf-hub:OWNER/NAME`, or a folder; `none`: no CLIP model, only the heads of `flags`.
        pretrained: the path of the weights, or open_clip's tag. Default: `openai` for ViT-L-14.
        device: `auto` (a GPU where there is one), `cpu`, `cuda` or `cuda:N`.
        precision: `auto`, `fp32`, `bf16` or `fp16`.
        batch_size: images in a batch; `auto` finds the largest that fits by trial.
        features: keep the images' features, besides the scores.
        exact: decode and resize exactly as open_clip does.
        threshold: drop rows with a lower score (cosine).
        max_similarity: drop images whose feature is more similar than this (cosine) to that of an earlier image.
        flags: a .toml file with `[flags.NAME]`, `[heads.NAME]` and rules on them: further values for each image.
        name: keep this scorer's results in files beside the shards, under this name, and leave the shards as they are.
        rescore: replace the results of another scorer.
        workers: how many models run at once, on Ray. Default: one for each GPU; without a GPU, only this process.
        address, progress: see `run`.

    Raises:
        CurateError: see `run`. The same call goes on; shards that are finished are not scored again.
    """
    from curate.manifest import load as manifests
    from curate.scoring.command import ScoreSettings
    from curate.scoring.command import score as score_shards
    from curate.scoring.judging import read_models

    weights = str(pretrained) or (TAG if model == MODEL else "")
    given = {"model": model, "pretrained": weights, "device": device, "batch_size": batch_size}
    given |= {"precision": precision, "features": features, "exact": exact}
    scorer = None if model == "none" else manifests.scorer_settings(given)
    asked = ScoreSettings(
        scorer=scorer,
        models=read_models(str(flags), scorer) if flags else None,
        threshold=threshold,
        name=name,
        rescore=rescore,
        max_similarity=max_similarity,
    )
    return made(
        RunResult, score_shards(str(folder), asked, workers, address, view_of(progress)), folder=str(folder)
    )


@checked
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
    images: Literal["embed", "reference", "name"] = "embed",
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
        seq_len: tokens in a sequence.
        image_tokens: tokens of an image, besides its two markers.
        tokenizer: a tiktoken, tokenizer.json or SentencePiece file. Default: Qwen's.
        mix: a mix.toml, with weights for data sets and tasks. Default: every sample once.
        recipe: a training stage (`qwen-vl-stage1`, or a .toml file) that replaces `mix` and brings settings of its own.
        scale: the share of the recipe's counts to take.
        seed: the seed of the shuffle.
        truncate: cut samples that are too long, instead of dropping them.
        dialect: the text format of the samples: a name, `NAME:PRESET`, or a .toml file (docs/dialects.md).
        dialect_settings: `KEY=VALUE` to change in the dialect, such as `cost.max_pixels=451584`.
        long_texts: what happens to plain texts longer than a sequence: `cut` into pieces, or `drop`.
        group: `image` joins all questions about one image into one sample, a dialogue. Default: no grouping.
        turns: at most this many questions in such a dialogue.
        images: `embed` stores them in the packs. `reference` leaves them in the shards; the packs say where each one
            is, and the loader reads it there, so the shards must stay unchanged. `name` stores only their paths.
        max_images: at most this many images in a sequence; 0: any number.
        max_patches: at most this many patches of images in a sequence; 0: any number.
        overwrite: replace other packs in `out`.
        workers, address, progress: see `run`; the packs do not depend on them.

    Raises:
        CurateError: see `run`. The same call goes on.
    """
    from curate.packing import PackSettings
    from curate.packing import pack as pack_shards

    settings = PackSettings(
        seq_len=seq_len, image_tokens=image_tokens, tokenizer=str(tokenizer), mix=str(mix),
        recipe=str(recipe), scale=scale, seed=seed, truncate=truncate, dialect=str(dialect),
        dialect_settings=tuple(dialect_settings), long_texts=long_texts, images=images, max_images=max_images,
        group=cast(Literal["", "image"], group), turns=turns,
        max_patches=max_patches, overwrite=overwrite,
    )  # fmt: skip
    packed = pack_shards(strings(folders), str(out), settings, workers, address, view_of(progress))
    return made(PackResult, packed, folder=str(out))


@checked
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
    """Convert the shards or packs in `folder` to the format of another framework.

    Args:
        folder: a folder of shards or packs.
        to: webdataset, energon, mds or qwen-vl; or, in a dialect, qwen3-vl, llava, ms-swift or llama-factory.
        out: the folder of the export.
        dialect: the text format of the samples: a name, `NAME:PRESET`, or a .toml file. Default: the format's own.
        dialect_settings: `KEY=VALUE` to change in the dialect, such as `cost.max_pixels=451584`.
        group: `image` joins all questions about one image into a dialogue (only for formats that have dialogues).
            Default: no grouping.
        turns: at most this many questions in such a dialogue.
        workers, address, progress: see `run`; the export does not depend on them.

    Raises:
        CurateError: see `run`. The same call goes on.
    """
    from curate.exporting import export as export_shards

    exported = export_shards(
        str(folder), to, str(out), str(dialect), dialect_settings, group, turns,
        workers=workers, address=address, progress=view_of(progress),
    )  # fmt: skip
    return made(ExportResult, exported, folder=str(out))


@checked
def fingerprint(
    paths: StrPaths, out: StrPath, *, columns: Sequence[str] = COLUMNS, pictures: bool = True
) -> FingerprintResult:
    """Write fingerprints of evaluation sets' images and texts to a file, for rules that keep them out of training.

    Args:
        paths: folders or files of images, tars, tables, Parquet, shards; globs and URIs as `run` takes them.
        out: the file to write, such as `evaluation.prints`.
        columns: the columns of tables whose texts are fingerprinted, joined in this order for each row.
        pictures: keep a small picture of each image, to be shown in reports.

    Raises:
        ManifestError, InputError, OutputError: see `run`.
    """
    from curate.fingerprinting import fingerprint as make

    return made(FingerprintResult, make(strings(paths), str(out), columns, pictures))


@checked
def held_out(paths: StrPaths, out: StrPath) -> HeldOutResult:
    """List the images that data sets hold out for validation and test, for the rule `image_name_on_list`.

    Args:
        paths: files in which each object or row has a `split`: RefCOCO's `refs(unc).p`, Karpathy's `dataset_coco.json`,
            tables. Also Visual Genome's `image_data.json`: those of its images are listed that another of the files
            holds out. Globs and URIs as `run` takes them.
        out: the list to write, a text file with one name a line, such as `held-out.txt`.

    Raises:
        ManifestError, InputError, OutputError: see `run`.
    """
    from curate.fingerprinting.held_out import held_out as make

    return made(HeldOutResult, make(strings(paths), str(out)))


@checked
def remove(
    folder: StrPath,
    list: StrPath | None,
    out: StrPath,
    *,
    reason: str | None = None,
    against: StrPaths = (),
) -> RemoveResult:
    """Write a new version of a finished run, without the rows that a list names or that evaluation sets hold.

    Files that lose no row are shared with the older version.

    Args:
        folder: the run's folder; it stays as it is.
        list: a text file, one entry a line: a key, a URL, an image's sha256, `host:example.org`, or a URL that ends in
            `*` (every URL that begins so). `key:`, `url:`, `sha256:` or `prefix:` before an entry says which it is.
            None: no list.
        out: the folder of the new version.
        reason: stands in the tombstones beside the date. None: `on request`; without a list `in an evaluation set`.
        against: files that `fingerprint` made. Rows are removed if the rules `image_in_evaluation_set` and
            `text_in_evaluation_set`, with their default settings, find their image or text in these sets.

    Raises:
        InputError, OutputError, ManifestError: see `run`.
        CurateError: the run has no row to remove; nothing was written.
        Halted, Stopped: the call ended before it was done; the same call goes on.
    """
    from curate.lineage.remove import remove as remove_rows

    listed = None if list is None else str(list)
    found = remove_rows(str(folder), listed, str(out), reason, strings(against))
    return made(RemoveResult, found)
