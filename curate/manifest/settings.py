"""The settings of a manifest, as frozen structs: one for each table of the TOML file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from curate.plugins import Plugin
from curate.version import __version__


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

    has: tuple[str, ...]  # the list is known by a field of its objects: one of these
    of: tuple[str, ...]  # the row's field that names one, perhaps itself `OTHER.field`
    id: tuple[str, ...] = ("id",)  # the field that identifies an object, first found wins
    keep: tuple[str, ...] = ()  # the fields taken along
    optional: bool = False  # whether the files may lack the list
    unused: str = ""  # the reason under which objects that no row names are dropped; empty: they are no loss


class InputSettings(Settings, frozen=True):
    """Where rows come from when the command line does not say."""

    uris: tuple[str, ...] = ()  # files, folders, globs, s3://, gs://, hf://; empty: the sample
    sample: str = ""  # the sample that ships with curate, relative to manifests/samples
    sample_images: str = (
        ""  # the folder of the sample's images, relative to manifests/samples, where not inside it
    )
    format: Literal["auto", "parquet", "csv", "tsv", "json", "jsonl", "webdataset", "lines"] = "auto"
    columns: tuple[str, ...] = ()  # names of the columns of a CSV or TSV without a header
    delimiter: str = ""  # between the fields of a CSV; empty: told by its first line
    swapped_sides_with: str = (
        ""  # width and height stand under each other's name where a file has this column
    )
    main: tuple[str, ...] = ()  # the rows are the list whose objects have one of these fields, if joined
    join: dict[str, JoinSettings] = {}  # by the name that its fields get
    explode: tuple[str, ...] = ()  # the items of these lists are a record each
    max_value_bytes: int = 64 * 2**20  # of one value, a line of text or a file in a tar; more is `too_large`
    max_depth: int = 100  # of JSON within JSON; deeper is `row_malformed`
    max_expansion: int = 250  # a packed file's size unpacked, as a multiple of its own
    max_unit_bytes: int = 2**28  # of a unit's rows, without images; rows beyond it are `too_large`
    memory_bytes: int = 3 * 2**30  # of the process that reads Parquet


class FetchSettings(Settings, frozen=True):
    """How images are fetched. Times are seconds, sizes are bytes."""

    concurrency: int = 256  # requests at once, over all hosts
    per_host: int = 16  # of them to one host, over all workers of a run
    per_host_rate: float = 0.0  # requests to one host a second and worker, at most; 0: any number
    longest_rest_s: float = (
        120.0  # of a pause that a host may ask for; one that asks for more is not asked again
    )
    connect_timeout_s: float = 10.0
    read_timeout_s: float = 15.0
    total_timeout_s: float = 60.0  # one row, with all retries and redirects
    max_bytes: int = 32 * 2**20
    max_redirects: int = 5
    retries: int = 2
    retry_wait_s: float = 0.5  # doubles with every retry, with jitter
    outage_patience_s: float = 60.0  # how long a network that seems down may take to come back
    user_agent: str = f"curate/{__version__} (image data set curation)"
    respect_opt_out: bool = True
    opt_out: tuple[str, ...] = ("noai", "noimageai", "noindex", "noimageindex")
    allow_private: bool = False
    name_servers: tuple[str, ...] = ()  # such as 127.0.0.1 or 127.0.0.1:5353; empty: the machine's own


# These settings were added later: with their defaults they are not in the digest, so that older digests stay valid.
SILENT_FETCH = ("per_host_rate", "longest_rest_s")


class ImageSettings(Settings, frozen=True):
    """How images are checked and stored. Sides are pixels, sizes are bytes."""

    folder: str = ""  # where images are looked up by path; `samples:` is manifests/samples; empty: nowhere
    formats: tuple[str, ...] = ("jpeg", "png", "webp", "gif", "bmp", "avif")
    max_pixels: int = 100_000_000
    max_side: int | None = None  # larger images are shrunk to this long side
    min_side: int | None = None  # larger images are shrunk to this short side
    quality: int = 90  # of images that must be encoded again
    strictness: Literal["whole", "readable"] = "whole"  # readable: also what decoders only warn of
    blur_boxes: str = (
        ""  # the source's column of boxes (x0, y0, x1, y1 as shares) that are blurred, such as faces
    )
    timeout_s: float = 20.0
    memory_bytes: int = 2 * 2**30  # of the process that decodes
    fingerprints: bool = False  # keep each image's perceptual fingerprint as a column


class DocumentSettings(Settings, frozen=True):
    """What reading and rendering a PDF or web page may take. Times are seconds, sizes are bytes."""

    max_bytes: int = 256 * 2**20
    page_timeout_s: float = 60.0
    timeout_s: float = 600.0
    memory_bytes: int = 2 * 2**30  # of the process that renders
    max_rows: int | None = None  # pages, or documents that gave none, taken of an input; --limit sets it


class ShardSettings(Settings, frozen=True):
    """How output is cut and written."""

    rows: int = 10_000  # input rows a unit of work
    max_bytes: int = 2**30  # a unit's output beyond this goes on in another shard
    row_group_bytes: int = 64 * 2**20
    compression_level: int = 3  # zstd, of everything but images


class DropSettings(Settings, frozen=True):
    """What is kept of dropped rows."""

    sample: float = 1.0  # share of rows dropped by rules that is written down; failures always are


class ScorerSettings(Settings, frozen=True):
    """A CLIP scorer to run within the run; see `curate score`."""

    model: str  # an open_clip name, hf-hub:OWNER/NAME, or a folder with an open_clip_config.json
    pretrained: str = (
        ""  # a tag, or the path of a weights file; empty: the one of the hub's or folder's model
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"  # auto: bf16 on a GPU, fp32 on a CPU
    device: str = "auto"  # cpu, cuda, cuda:1; auto: a GPU if there is one
    batch_size: int | Literal["auto"] = "auto"
    features: bool = True  # keep the images' features, and not the scores alone
    exact: bool = False  # decode every pixel and resize as open_clip does, rather than shrink while decoding


class FlagSettings(Settings, frozen=True):
    """Something that images may show, told by words: rules read it as the column `flags.NAME`."""

    prompts: tuple[str, ...]  # texts that fit images which show it
    others: tuple[str, ...] = ("a photo",)  # texts that fit the others better


class HeadSettings(Settings, frozen=True):
    """A small model that says one thing of an image: rules read it as the column `heads.NAME`.

    Its input is (level - mean) / std of the image's levels (0 to 255; red, green, blue).
    """

    model: str  # the path of an ONNX file, or `open_nsfw`
    output: int = -1  # which number of its first output counts
    activation: Literal["none", "softmax", "sigmoid"] = "none"  # what is made of these numbers first
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (255.0, 255.0, 255.0)
    channels: Literal["rgb", "bgr"] = "rgb"  # their order in the input
    crop: float = 1.0  # the share of each side of the image that the model sees, around the middle


FLAGS, HEADS = "flags.", "heads."  # before the name of one, in a rule's `column`


class Manifest(Settings, frozen=True):
    """One data set: where it comes from, how its columns are called, and what is kept of it."""

    name: str
    title: str
    licence: str
    homepage: str
    plugins: tuple[Plugin, ...] = ()  # files beside the manifest, or installed packages; see `curate.plugins`
    adapter: str = "pairs"  # a function of curate.adapters
    task: str = "caption"
    language: Literal["auto", "en", "zh"] = "auto"  # auto: by the script of the text
    notes: str = ""
    key: tuple[str, ...] = ("url", "text")  # the columns that identify a row for ever
    seed: int = 0
    paper: Paper | None = None
    input: InputSettings = InputSettings()
    only: dict[str, tuple[str, ...]] = {}  # published column = the values that belong to this data set
    columns: dict[
        str, tuple[str, ...]
    ] = {}  # our column = the names that publishers give it, first found wins
    clean: tuple[str, ...] = ()
    cleaners: dict[str, dict[str, Any]] = {}
    rules: dict[str, dict[str, Any] | Literal[False]] = {}
    presets: dict[str, tuple[str, ...]] = {}  # name = the rules that it switches on which are off otherwise
    render: dict[str, Any] = {}  # settings of the adapter's renderer
    fetch: FetchSettings = FetchSettings()
    image: ImageSettings = ImageSettings()
    documents: DocumentSettings = DocumentSettings()
    shard: ShardSettings = ShardSettings()
    drops: DropSettings = DropSettings()
    scorer: ScorerSettings | None = None
    flags: dict[str, FlagSettings] = {}  # by name: told by the scorer's features
    heads: dict[str, HeadSettings] = {}  # by name: models beside the scorer

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
        if (
            not self.image.fingerprints
        ):  # so that manifests keep the digests that they had before there were any
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
