"""Synthetic documents: child processes draw each image from the manifest's seed and the image's number."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc as ipc

import filters
from curate.adapters.row_keys import keys
from curate.children.pool import Children, Limits, Outcome
from curate.errors import InputError, MachineError, ManifestError
from curate.manifest.declared import plain_fault
from curate.manifest.settings import Manifest
from curate.origins import Kind
from curate.origins.pages import COPIED, STAGE, module
from curate.schema import conform
from curate.sources import Input

SAMPLE_SEEDS = 20  # images of a run without a --limit
ENDLESS = 2**40  # images: more than any run makes
TOGETHER = 50  # images of a table, to share the cost of making one
AHEAD = 8  # images under way for each child process, so that none waits for this process
# Images after which a child is replaced: so many, as its input is safe and its start is slow
RECYCLE_AFTER = 20_000


class Seeds:
    """The images of one language and seed."""

    def __init__(self, manifest: Manifest, children: int) -> None:
        self._manifest, self._count = manifest, children
        self._flying: deque[Future[Outcome]] = deque()  # the images from number `given` to before `asked`
        self._given = self._asked = -1

    @property
    def settled(self) -> Mapping[str, Mapping[str, Any]]:
        """See `Origin.settled`: none."""
        return {}

    @property
    def size(self) -> int:
        """See `Origin.size`: as many as are asked for."""
        return ENDLESS

    def read(self, start: int, stop: int) -> Iterator[pa.Table]:
        """See `Origin.read`."""
        outcomes = self._outcomes(range(start, stop))
        for first in range(start, stop, TOGETHER):
            indices = range(first, min(first + TOGETHER, stop))
            yield self._samples(indices, [_row(outcome) for outcome in islice(outcomes, len(indices))])

    def judges(self, rule: str) -> bool:
        """See `Origin.judges`."""
        columns = filters.find_rule(rule, self._manifest.active_rules()[rule]).needed
        return not any(name == "clip_score" or name.startswith(filters.PREFIX) for name in columns)

    def close(self) -> None:
        """See `Origin.close`."""
        if "_children" in self.__dict__:
            self._children.close()

    @cached_property
    def _children(self) -> Children:
        manifest = self._manifest
        limits = Limits(
            manifest.documents.page_timeout_s,
            memory_bytes=manifest.documents.memory_bytes,
            recycle_after=RECYCLE_AFTER,
        )
        settings = {"render": manifest.render, "language": manifest.language, "seed": manifest.seed}
        return Children("curate.origins.seeds:drawer", self._count, limits, msgspec.json.encode(settings))

    def _outcomes(self, indices: range) -> Iterator[Outcome]:
        """Yield the outcome of each image, in order; the child processes work some images ahead.

        With several child processes this process does all units in turn, so the children begin with the images of the
        next unit while this one is written.
        """
        if self._given != indices.start:
            self._flying.clear()
            self._asked = indices.start
        stop = indices.stop + (AHEAD * self._count if self._count > 1 else 0)
        for index in indices:
            while self._asked < stop and len(self._flying) < AHEAD * self._count:
                self._flying.append(self._children.submit(str(self._asked).encode()))
                self._asked += 1
            self._given = index + 1
            yield self._flying.popleft().result()

    def _samples(self, indices: range, rows: Sequence[pa.Table]) -> pa.Table:
        manifest, table = self._manifest, pa.concat_tables(rows).combine_chunks()
        identity = ([str(manifest.seed)] * len(indices), [str(index) for index in indices])
        return conform(
            pa.table(
                {
                    "key": keys(manifest.name, [pa.array(part, pa.large_string()) for part in identity]),
                    "dataset": pa.repeat(manifest.name, len(indices)),
                    "task": pa.repeat(manifest.task, len(indices)),
                    "language": pa.repeat(manifest.language, len(indices)),
                    "source": [f"seed-{manifest.seed}#{index}" for index in indices],
                    **{column: table[column] for column in COPIED},
                    "stage": pc.if_else(pc.is_null(table["dropped"]), pa.scalar(None, pa.string()), STAGE),
                }
            )
        )


def _row(outcome: Outcome) -> pa.Table:
    """Return the row of an image, or the row with the reason why there is none."""
    rows_type = module("synthdog", "synthdog").ROWS
    if outcome.value is not None:
        return pa.Table.from_batches([ipc.read_record_batch(pa.py_buffer(outcome.value), rows_type)])
    failure = {"dropped": [outcome.reason], "detail": [outcome.detail]}
    empty = {name: pa.nulls(1, rows_type.field(name).type) for name in rows_type.names}
    return pa.table(empty | failure, schema=rows_type)


def find_seeds(manifest: Manifest, uris: Sequence[str]) -> list[Input]:
    """Return the one input of a synthetic data set.

    Its fingerprint covers the settings, fonts, corpus and pictures, which decide every byte of the output.

    Raises:
        InputError: an --input was given, and there is nothing to read.
        ManifestError: a setting is wrong.
        MachineError: a font, corpus or picture is missing, or synthtiger is not installed.
    """
    if uris:
        raise InputError(f"{manifest.name} reads no --input: corpus, fonts and pictures are set in [render]")
    if manifest.language == "auto":
        raise ManifestError(f"manifest {manifest.name!r} must say its language: en or zh")
    module("synthdog.template", "synthdog")  # which brings synthtiger
    synthdog, errors = module("synthdog", "synthdog"), module("synthdog.errors", "synthdog")
    template = module("synthdog.settings", "synthdog")
    try:
        settings = template.load(manifest.render, manifest.language)
        used = synthdog.Resources.load(settings, manifest.language).record()
    except errors.SettingsError as error:
        said = plain_fault(str(error).removeprefix("synthdog settings: "), template.TemplateSettings)
        raise ManifestError(f"[render]: {said}") from None
    except errors.ResourceError as error:
        raise MachineError(str(error)) from None
    identity = msgspec.json.encode([manifest.render, manifest.language, manifest.seed, used], order="sorted")
    fingerprint = hashlib.sha256(identity).hexdigest()[:32]
    return [Input(f"seed:{manifest.seed}", "", 0, fingerprint, tuple(_materials(used)))]


def open_seeds(found: Input, manifest: Manifest, work: Path, children: int) -> Seeds:
    """Open the images (see `open_origin`); `children` child processes draw them."""
    return Seeds(manifest, children)


def placed(manifest: Manifest) -> Manifest:
    """Return the manifest with absolute paths in [render]: child processes and workers have other current folders."""
    return msgspec.structs.replace(manifest, render=_placed(manifest.render))


def _placed(settings: Mapping[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name, value in settings.items():
        if name == "paths" and isinstance(value, list | tuple):
            made[name] = [str(Path(path).expanduser().absolute()) for path in map(str, value)]
        else:
            made[name] = _placed(value) if isinstance(value, Mapping) else value
    return made


def _materials(used: Mapping[str, Any]) -> Iterator[Input]:
    """Yield what the images are made of, for the run's manifest: typefaces, corpus, folders of pictures."""
    for face in used["fonts"]:
        yield Input(f"font:{face['name']}#{face['index']}", face["name"], face["bytes"], face["sha256"])
    yield Input("corpus:", "", used["corpus"]["bytes"], used["corpus"]["sha256"])
    for kind in ("backgrounds", "papers"):
        for source in used[kind]:
            yield Input(f"{kind}:{source['name']}", source["name"], 0, source["sha256_of_names"])


def drawer(settings: bytes) -> Callable[[bytes], bytes]:
    """Return the function that a child process calls for each image's number; it returns a row as an Arrow message."""
    import synthdog

    known = msgspec.json.decode(settings)
    template = synthdog.Template(known["render"], language=known["language"])
    return lambda index: template.generate(known["seed"], [int(index)]).serialize().to_pybytes()


PHOTOGRAPHS = (
    "--set 'render.background.image.paths=[\"train2017.zip\"]' (COCO's zip as it comes, or a folder)"
)


def notice(manifest: Manifest) -> str:
    """Return the note that pages have no photographs as background, and how to add some; empty if they have."""
    image = manifest.render.get("background", {})
    image = image.get("image", {}) if isinstance(image, Mapping) else {}
    if isinstance(image, Mapping) and image.get("paths"):
        return ""
    return f"{manifest.name} draws on procedural backgrounds; SynthDoG's are photographs: to use some, {PHOTOGRAPHS}"


KIND = Kind(find_seeds, open_seeds, placed, notice, endless=SAMPLE_SEEDS)
