"""What is made of a finished folder: scores, packs, exports, a version without some rows, fingerprints."""

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

COLUMNS = ("question", "answer", "answers")  # of evaluation sets, whose texts are fingerprinted
MODEL, TAG = "ViT-L-14", "openai"  # CLIP as published


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
        model: open_clip's name, `hf-hub:OWNER/NAME`, or a folder; `none`: only the heads of `flags` look at the images.
        pretrained: the path of its weights, or open_clip's tag. Default: `openai` for ViT-L-14.
        device: `auto` (a GPU where there is one), `cpu`, `cuda` or `cuda:N`.
        precision: `auto`, `fp32`, `bf16` or `fp16`.
        batch_size: images at once; `auto` finds it by trial.
        features: keep the images' features beside the scores.
        exact: decode and resize exactly as open_clip does.
        threshold: drop rows with a lower score (cosine).
        max_similarity: drop images whose feature is closer than this (cosine) to an earlier one's.
        flags: a .toml file with `[flags.NAME]`, `[heads.NAME]` and rules on them: what else is said of each image.
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
        images: `embed` puts them into the packs; `reference` leaves them in the shards, where the loader reads them by
            their places, so that the shards must stay as they are; `name` gives their paths alone.
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
        workers=workers, address=address, progress=view_of(progress),
    )  # fmt: skip
    return made(ExportResult, exported, folder=str(out))


@checked
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

    return made(FingerprintResult, make(strings(paths), str(out), columns, pictures))


@checked
def held_out(paths: StrPaths, out: StrPath) -> HeldOutResult:
    """List the images that data sets hold out for validation and test, for the rule `image_name_on_list`.

    Args:
        paths: files with a `split` an object or row: RefCOCO's `refs(unc).p`, Karpathy's `dataset_coco.json`, tables;
            and Visual Genome's `image_data.json`, of which the images are listed that the others hold out. Globs and
            URIs as `run` takes them.
        out: the list, a text file with a name a line, such as `held-out.txt`.

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
    """Write a new version of a finished run without what a list names, or what evaluation sets hold.

    All files that lose no row are shared with the older version.

    Args:
        folder: the run's folder; it stays as it is.
        list: a text file, a line each: a key, a URL, an image's sha256, `host:example.org`, a URL that ends in `*`
            (all that begin so), or `key:`, `url:`, `sha256:`, `prefix:` before what it is; None: no list.
        out: the folder of the new version.
        reason: what its tombstones say, beside the date; None: `on request`, without a list `in an evaluation set`.
        against: files that `fingerprint` made: rows with an image or a text of these sets go, as the rules
            `image_in_evaluation_set` and `text_in_evaluation_set` with their defaults tell them.

    Raises:
        InputError, OutputError, ManifestError: see `run`.
        CurateError: nothing that is listed is there; nothing was written.
        Halted, Stopped: it came to an end too early; the same call goes on.
    """
    from curate.lineage.remove import remove as remove_rows

    listed = None if list is None else str(list)
    found = remove_rows(str(folder), listed, str(out), reason, strings(against))
    return made(RemoveResult, found)
