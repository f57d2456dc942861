"""Manifests: one TOML file a data set, validated into frozen settings before anything is read."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

import msgspec

import filters
from curate import __version__
from curate.errors import ManifestError, nearest
from curate.manifest_checks import check_near, check_values
from filters.rule import REQUIRED, Cleaner, Rule

SAMPLES = "samples:"  # stands for their folder: a manifest resolves to the same wherever curate is installed
NAME = re.compile(r"[a-z0-9][a-z0-9+_.-]{0,63}")


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
    swapped_sides_with: str = (
        ""  # width and height stand under each other's name where a file has this column
    )
    main: tuple[str, ...] = ()  # the rows are the list whose objects have one of these fields, if joined
    join: dict[str, JoinSettings] = {}  # by the name that its fields get
    explode: tuple[str, ...] = ()  # the items of these lists are a record each


class FetchSettings(Settings, frozen=True):
    """How images are fetched. Times are seconds, sizes are bytes."""

    concurrency: int = 256  # requests at once, over all hosts
    per_host: int = 16
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


class ImageSettings(Settings, frozen=True):
    """How images are checked and stored. Sides are pixels, sizes are bytes."""

    folder: str = ""  # where images are looked up by path; `samples:` is manifests/samples; empty: nowhere
    formats: tuple[str, ...] = ("jpeg", "png", "webp", "gif", "bmp", "avif")
    max_pixels: int = 100_000_000
    max_side: int | None = None  # larger images are shrunk to this long side
    min_side: int | None = None  # larger images are shrunk to this short side
    quality: int = 90  # of images that must be encoded again
    timeout_s: float = 20.0
    memory_bytes: int = 2 * 2**30  # of the process that decodes


class DocumentSettings(Settings, frozen=True):
    """What reading and rendering a PDF or web page may take. Times are seconds, sizes are bytes."""

    max_bytes: int = 256 * 2**20
    page_timeout_s: float = 60.0
    timeout_s: float = 600.0
    memory_bytes: int = 2 * 2**30  # of the process that renders


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


class Manifest(Settings, frozen=True):
    """One data set: where it comes from, how its columns are called, and what is kept of it."""

    name: str
    title: str
    licence: str
    homepage: str
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
    render: dict[str, Any] = {}  # settings of the adapter's renderer
    fetch: FetchSettings = FetchSettings()
    image: ImageSettings = ImageSettings()
    documents: DocumentSettings = DocumentSettings()
    shard: ShardSettings = ShardSettings()
    drops: DropSettings = DropSettings()
    scorer: ScorerSettings | None = None

    def digest(self) -> str:
        """Hex SHA-256 of the resolved manifest: two runs agree on it when they would do the same."""
        return hashlib.sha256(json.dumps(self.resolved(), sort_keys=True).encode()).hexdigest()

    def resolved(self) -> dict[str, Any]:
        """The manifest as plain data, every default filled in."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain

    def active_rules(self) -> dict[str, dict[str, Any]]:
        """The rules that are switched on, in the order in which they are judged."""
        return {name: settings for name, settings in self.rules.items() if settings is not False}


def folder() -> Path:
    """Where the built-in manifests and their samples lie."""
    installed = Path(__file__).parent / "_manifests"
    return installed if installed.is_dir() else Path(__file__).parent.parent / "manifests"


def samples() -> Path:
    """Where the samples of the built-in manifests lie."""
    return folder() / "samples"


def on_sample(manifest: Manifest) -> Manifest:
    """The manifest as it runs on its sample: local images are looked up among the sample's."""
    images = manifest.input.sample_images
    if not images or manifest.image.folder:
        return manifest
    image = msgspec.structs.replace(manifest.image, folder=f"{SAMPLES}{images}")
    return msgspec.structs.replace(manifest, image=image)


def image_folder(manifest: Manifest) -> Path | None:
    """The folder below which rows may name local images; None if they may not."""
    name = manifest.image.folder
    if not name:
        return None
    return samples() / name.removeprefix(SAMPLES) if name.startswith(SAMPLES) else Path(name)


def builtin() -> list[str]:
    """The names of the built-in manifests, sorted."""
    return sorted(path.stem for path in folder().glob("*.toml"))


def load(name_or_path: str, assignments: Sequence[str] = ()) -> Manifest:
    """The manifest of that name or file, with `a.b.c=value` assignments applied.

    Raises:
        ManifestError: unknown name, unreadable file, unknown key, wrong type or value; names the nearest
        known.
    """
    path = Path(name_or_path)
    if path.suffix != ".toml":
        if name_or_path not in builtin():
            raise ManifestError(f"no manifest {name_or_path!r}{nearest(name_or_path, builtin())}")
        path = folder() / f"{name_or_path}.toml"
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ManifestError(f"cannot read manifest {name_or_path}: {error.strerror or error}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ManifestError(f"{name_or_path} is not TOML: {error}") from None
    for assignment in assignments:
        assign(tree, assignment)
    return parse(tree, origin=name_or_path)


def assign(tree: dict[str, Any], assignment: str) -> None:
    """Apply one `a.b.c=value` to a manifest's tree; the value is TOML, a bare word is a string.

    Raises:
        ManifestError: no `=`, or a path through something that is not a table.
    """
    path, equals, literal = assignment.partition("=")
    *parents, last = path.strip().split(".")
    if not equals or not last:
        raise ManifestError(f"--set {assignment!r}: write it as path.to.value=VALUE")
    try:
        value = tomllib.loads(f"value = {literal.strip()}")["value"]
    except tomllib.TOMLDecodeError:
        value = literal.strip()
    for parent in parents:
        child = tree.setdefault(parent, {})
        if child is False and parents[0] == "rules":
            child = tree[parent] = {}  # a rule that was off is on again
        if not isinstance(child, dict):
            raise ManifestError(f"--set {assignment!r}: {parent!r} is a value, not a table")
        tree = child
    tree[last] = value


def parse(tree: Mapping[str, Any], origin: str) -> Manifest:
    """Validate a manifest's tree; every rule and cleaner setting gets its default filled in.

    Raises:
        ManifestError: see `load`.
    """
    for name, settings in tree["rules"].items() if isinstance(tree.get("rules"), Mapping) else ():
        if settings is not False and not isinstance(settings, Mapping):
            off = f"rules.{name} is {settings!r}: a rule is a table of its settings, or false"
            raise ManifestError(f"{origin}: {off}")
    try:
        manifest = msgspec.convert(tree, Manifest)
    except msgspec.ValidationError as error:
        raise ManifestError(f"{origin}: {_explain(str(error))}") from None
    if not NAME.fullmatch(manifest.name):
        raise ManifestError(f"{origin}: name {manifest.name!r} must be like 'laion-coco' (a-z, 0-9, + _ . -)")
    check_values(manifest, origin)
    rules = {
        name: settings if settings is False else _fill(f"rule {name!r}", known, settings, origin)
        for name, settings, known in _known("rule", manifest.rules, filters.RULES, origin)
    }
    given = {name: manifest.cleaners.get(name, {}) for name in (*manifest.clean, *manifest.cleaners)}
    cleaners = {
        name: _fill(f"cleaner {name!r}", known, settings, origin)
        for name, settings, known in _known("cleaner", given, filters.CLEANERS, origin)
    }
    check_near(rules.get("near_duplicate"), manifest.scorer, origin)
    return msgspec.structs.replace(manifest, rules=rules, cleaners=cleaners)


def _known(
    kind: str, given: Mapping[str, Any], registry: Mapping[str, Any], origin: str
) -> Iterable[tuple[str, Any, Any]]:
    for name, settings in given.items():
        if name not in registry:
            raise ManifestError(f"{origin}: no {kind} {name!r}{nearest(name, registry)}")
        yield name, settings, registry[name]


def _fill(who: str, known: Rule | Cleaner, given: Mapping[str, Any], origin: str) -> dict[str, Any]:
    """The settings in their declared order, given or default, each of its declared type, and tried out."""
    for name in given:
        if name not in known.settings:
            has = f" (it has: {', '.join(known.settings) or 'none'})"
            raise ManifestError(f"{origin}: {who} has no setting {name!r}{has}")
    filled = {}
    for name, setting in known.settings.items():
        value = given.get(name, setting.default)
        if value is REQUIRED:
            raise ManifestError(f"{origin}: {who} needs the setting {name!r}")
        try:
            filled[name] = msgspec.convert(value, setting.type)
        except msgspec.ValidationError as error:
            raise ManifestError(f"{origin}: {who}, setting {name!r}: {error}, not {value!r}") from None
        if filled[name] != filled[name]:
            raise ManifestError(f"{origin}: {who}, setting {name!r} must be a number, not {value!r}")
    try:
        known.check(**filled)
    except ValueError as error:
        raise ManifestError(f"{origin}: {who}: {error}") from None
    return filled


def _explain(message: str) -> str:
    """msgspec's message, with the nearest known key where one is unknown."""
    if found := re.fullmatch(r"Invalid enum value (.+) - at `\$\.(.+)`", message):
        return f"{found[2]} cannot be {found[1]}{_choices(found[2])}"
    found = re.fullmatch(r"Object contains unknown field `(.+?)`(?: - at `\$\.?(.*)`)?", message)
    if not found:
        return message.replace("`$.", "`")
    key, table = found.groups()
    struct = TABLES.get(table or "", Manifest)
    where = f"[{table}]" if table else "the manifest"
    return f"{where} has no key {key!r}{nearest(key, struct.__struct_fields__)}"


def _choices(path: str) -> str:
    """The values that a setting may have: ` (it can be: auto, en, zh)`."""
    table, _, key = path.rpartition(".")
    hint = get_type_hints(TABLES.get(table, Manifest)).get(key)
    return f" (it can be: {', '.join(map(str, get_args(hint)))})" if get_args(hint) else ""


TABLES: dict[str, type[msgspec.Struct]] = {
    "": Manifest,
    "paper": Paper,
    "input": InputSettings,
    "input.join.NAME": JoinSettings,
    "fetch": FetchSettings,
    "image": ImageSettings,
    "documents": DocumentSettings,
    "shard": ShardSettings,
    "drops": DropSettings,
    "scorer": ScorerSettings,
}


def scorer_settings(given: Mapping[str, Any]) -> ScorerSettings:
    """The `[scorer]` table that these values make.

    Raises:
        ManifestError: a value of the wrong type, or not among those it may be.
    """
    try:
        return msgspec.convert(given, ScorerSettings)
    except msgspec.ValidationError as error:
        raise ManifestError(f"[scorer]: {error}") from None
