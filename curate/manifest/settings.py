"""The settings of a manifest, as frozen structs: one for each table of the TOML file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from curate.plugins import Plugin
from curate.version import __version__

DEFAULT_KEY = ("url", "text")


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of a manifest: unknown keys and wrong types are refused."""


class Paper(Settings, frozen=True):
    """What Qwen-VL's table 2 reports of this data set (rows before and after curation)."""

    rows_before: int
    rows_after: int


class JoinSettings(Settings, frozen=True):
    """Another list of the same JSON files, whose objects are found by id; see `curate.sources.joins`.

    Its fields stand beside the row's own as `NAME.field`.
    """

    has: tuple[str, ...]  # The list is the one whose objects have one of these fields.
    # The row's field that holds an object's id: the first of these that a row has. It may be `OTHER.field`.
    of: tuple[str, ...]
    id: tuple[str, ...] = ("id",)  # The object's field that holds its id: the first of these that it has.
    keep: tuple[str, ...] = ()  # The object's fields that the row gets.
    optional: bool = False  # Whether a file may lack the list.
    # The reason under which objects that no row names are dropped. Empty: they are not counted.
    unused: str = ""


class InputSettings(Settings, frozen=True):
    """Where rows come from when the command line does not say."""

    uris: tuple[str, ...] = ()  # Files, folders, globs, s3://, gs://, hf://. Empty: the sample is read.
    sample: str = ""  # The sample that ships with curate: a path below manifests/samples.
    # The folder of the sample's images, below manifests/samples. Empty: the images are in the sample.
    sample_images: str = ""
    format: Literal["auto", "parquet", "csv", "tsv", "json", "jsonl", "webdataset", "lines"] = "auto"
    columns: tuple[str, ...] = ()  # The names of the columns of a CSV or TSV file that has no header.
    delimiter: str = ""  # What stands between the fields of a CSV file. Empty: its first line tells.
    # In files that have this column, width and height are named the wrong way round.
    swapped_sides_with: str = ""
    # In files with lists to join: the rows are the objects of the list that have one of these fields.
    main: tuple[str, ...] = ()
    join: dict[str, JoinSettings] = {}  # The lists to join, by the name that their fields get.
    explode: tuple[str, ...] = ()  # Columns of lists. Each item of a row's lists becomes a row of its own.
    max_value_bytes: int = 64 * 2**20  # Limits a value, a line of text, a file in a tar. Larger: `too_large`.
    max_depth: int = 100  # Limits how deep JSON is nested. Deeper: `row_malformed`.
    max_expansion: int = 250  # How many times its packed size a file may have once it is unpacked.
    max_unit_bytes: int = 2**28  # Limits the rows of a unit, without images. Rows beyond it: `too_large`.
    memory_bytes: int = 3 * 2**30  # Limits the child process that reads Parquet.


class FetchSettings(Settings, frozen=True):
    """How images are fetched. Times are seconds, sizes are bytes."""

    concurrency: int = 256  # Requests at once, to all hosts together.
    per_host: int = 16  # Requests at once to one host, from all workers of a run.
    per_host_rate: float = 0.0  # The most requests a second that one worker sends to one host. 0: no limit.
    # The longest pause that a host may ask for. If it asks for more, it gets no more requests.
    longest_rest_s: float = 120.0
    connect_timeout_s: float = 10.0
    read_timeout_s: float = 15.0
    total_timeout_s: float = 60.0  # For one row, with all retries and redirects.
    max_bytes: int = 32 * 2**20
    max_redirects: int = 5
    retries: int = 2
    retry_wait_s: float = 0.5  # Before the first retry. It doubles with each retry, and varies at random.
    outage_patience_s: float = 60.0  # How long to wait for the network to come back when it seems down.
    user_agent: str = f"curate/{__version__} (image data set curation)"
    respect_opt_out: bool = True
    opt_out: tuple[str, ...] = ("noai", "noimageai", "noindex", "noimageindex")
    allow_private: bool = False
    name_servers: tuple[str, ...] = ()  # Such as 127.0.0.1 or 127.0.0.1:5353. Empty: those of the machine.


# These settings were added later: with their defaults they are not in the digest, so that older digests stay valid.
SILENT_FETCH = ("per_host_rate", "longest_rest_s")


class ImageSettings(Settings, frozen=True):
    """How images are checked and stored. Sides are pixels, sizes are bytes."""

    # The folder in which images are found by path. `samples:` is manifests/samples. Empty: none.
    folder: str = ""
    formats: tuple[str, ...] = ("jpeg", "png", "webp", "gif", "bmp", "avif")
    max_pixels: int = 100_000_000
    max_side: int | None = None  # The longer side of larger images is shrunk to this.
    min_side: int | None = None  # The shorter side of larger images is shrunk to this.
    quality: int = 90  # The quality of images that must be encoded again.
    # `readable` also keeps images that Pillow shows although parts of them are missing.
    strictness: Literal["whole", "readable"] = "whole"
    # A column of boxes to blur, such as faces: x0, y0, x1, y1 as shares of the sides. Empty: none.
    blur_boxes: str = ""
    timeout_s: float = 20.0
    memory_bytes: int = 2 * 2**30  # Limits the child process that decodes images.
    fingerprints: bool = False  # Whether each image's perceptual fingerprint is kept as a column.


class DocumentSettings(Settings, frozen=True):
    """What reading and rendering a PDF or web page may take. Times are seconds, sizes are bytes."""

    max_bytes: int = 256 * 2**20
    page_timeout_s: float = 60.0
    timeout_s: float = 600.0
    memory_bytes: int = 2 * 2**30  # Limits the child process that renders documents.
    # The most rows taken of an input: pages, and documents without any. --limit sets it.
    max_rows: int | None = None


class ShardSettings(Settings, frozen=True):
    """How output is cut and written."""

    rows: int = 10_000  # How many input rows a unit of work has.
    max_bytes: int = 2**30  # When a shard of a unit has so many bytes, the unit goes on in another shard.
    row_group_bytes: int = 64 * 2**20
    compression_level: int = 3  # Of zstd, which compresses all columns but the images.


class DropSettings(Settings, frozen=True):
    """What is kept of dropped rows."""

    # The share of the rows dropped by rules that is written. Rows that failed are always written.
    sample: float = 1.0


class ScorerSettings(Settings, frozen=True):
    """A CLIP scorer to run within the run; see `curate score`."""

    model: str  # A name of open_clip's, hf-hub:OWNER/NAME, or a folder with an open_clip_config.json.
    # A tag of open_clip's, or the path of a weights file. Empty: the weights of the hub's or folder's model.
    pretrained: str = ""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"  # auto: bf16 on a GPU, fp32 on a CPU.
    device: str = "auto"  # cpu, cuda or cuda:1. auto: a GPU, if there is one.
    batch_size: int | Literal["auto"] = "auto"
    features: bool = True  # Whether the images' features are kept, and not only the scores.
    # Whether every pixel is decoded and resized as open_clip does it. False: images are shrunk in decoding.
    exact: bool = False


class FlagSettings(Settings, frozen=True):
    """Something that images may show, told by words: rules read it as the column `flags.NAME`."""

    prompts: tuple[str, ...]  # Texts that describe images with the flag.
    others: tuple[str, ...] = ("a photo",)  # Texts that describe all other images better.


class HeadSettings(Settings, frozen=True):
    """A small model that says one thing of an image: rules read it as the column `heads.NAME`.

    Its input is (level - mean) / std of the image's levels (0 to 255; red, green, blue).
    """

    model: str  # The path of an ONNX file, or `open_nsfw`.
    output: int = -1  # The index of the number that counts, in the model's first output.
    activation: Literal["none", "softmax", "sigmoid"] = "none"  # The function applied to that output first.
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (255.0, 255.0, 255.0)
    channels: Literal["rgb", "bgr"] = "rgb"  # The order of the colours in the model's input.
    crop: float = 1.0  # The share of each side of the image that the model sees, in the middle.


# What stands before the name of a flag or head in a rule's `column`
FLAGS, HEADS = "flags.", "heads."


class Manifest(Settings, frozen=True):
    """One data set: where it comes from, how its columns are called, and what is kept of it."""

    name: str
    title: str
    licence: str
    homepage: str
    # Files beside the manifest, or installed packages; see `curate.plugins`.
    plugins: tuple[Plugin, ...] = ()
    adapter: str = "pairs"  # The name of a function of curate.adapters.
    task: str = "caption"
    language: Literal["auto", "en", "zh"] = "auto"  # auto: the script of the text tells.
    notes: str = ""
    key: tuple[str, ...] = DEFAULT_KEY  # The columns that a row's key is made of. They must not change.
    seed: int = 0
    paper: Paper | None = None
    input: InputSettings = InputSettings()
    # A published column, and the values of it that belong to this data set.
    only: dict[str, tuple[str, ...]] = {}
    # A column of curate's, and the names that publishers give it. The first that a file has is read.
    columns: dict[str, tuple[str, ...]] = {}
    clean: tuple[str, ...] = ()
    cleaners: dict[str, dict[str, Any]] = {}
    rules: dict[str, dict[str, Any] | Literal[False]] = {}
    # The name of a preset, and the rules that it switches on, which are off otherwise.
    presets: dict[str, tuple[str, ...]] = {}
    render: dict[str, Any] = {}  # Settings of the adapter's renderer.
    fetch: FetchSettings = FetchSettings()
    image: ImageSettings = ImageSettings()
    documents: DocumentSettings = DocumentSettings()
    shard: ShardSettings = ShardSettings()
    drops: DropSettings = DropSettings()
    scorer: ScorerSettings | None = None
    flags: dict[str, FlagSettings] = {}  # By their names. The scorer's features tell which images have them.
    heads: dict[str, HeadSettings] = {}  # By their names. These models run beside the scorer.

    def digest(self) -> str:
        """Return the SHA-256 (hex) of the resolved manifest: equal if two runs would do the same."""
        return digest_of(self.resolved())

    def resolved(self) -> dict[str, Any]:
        """Return the manifest as plain data, with all defaults filled in."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        if not self.plugins:
            del plain["plugins"]
        if not self.flags:
            del plain["flags"]
        if not self.heads:
            del plain["heads"]
        if not self.image.fingerprints:  # manifests without them keep the digests of older versions
            del plain["image"]["fingerprints"]
        return plain

    def active_rules(self) -> dict[str, dict[str, Any]]:
        """Return the rules that are switched on (name -> settings), in the order in which they are applied."""
        return {name: of for name, of in self.rules.items() if of is not False and of.get("on", True)}

    def rules_on_models(self) -> dict[str, dict[str, Any]]:
        """Return the active rules (name -> settings) that judge a flag or head, not a column of the source."""
        columns = {*(FLAGS + name for name in self.flags), *(HEADS + name for name in self.heads)}
        active = self.active_rules().items()
        return {name: of for name, of in active if "plugin" not in of and of.get("column") in columns}


def digest_of(resolved: Mapping[str, Any]) -> str:
    """Return the SHA-256 (hex) of a resolved manifest, without settings of SILENT_FETCH that have their defaults."""
    fetch = dict(resolved.get("fetch", {}))
    for name in SILENT_FETCH:
        if fetch.get(name) == getattr(FetchSettings(), name):
            del fetch[name]
    plain = {**resolved, "fetch": fetch} if "fetch" in resolved else resolved
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
