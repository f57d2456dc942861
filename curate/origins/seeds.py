"""Synthetic documents: image number i of the manifest's seed, made by child processes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property

import msgspec
import pyarrow as pa
import pyarrow.ipc as ipc

from curate.adapters.identity import keys
from curate.children import Children, Limits
from curate.errors import InputError, MachineError, ManifestError
from curate.manifest import Manifest
from curate.origins.pages import COPIED, STAGE, in_order, module
from curate.schema import conform
from curate.sources import Input

SAMPLE_SEEDS = 20  # images, where no --limit says how many
ENDLESS = 2**40


class Seeds:
    """The images of one language and seed."""

    def __init__(self, manifest: Manifest, children: int) -> None:
        self._manifest, self._count = manifest, children

    @property
    def size(self) -> int:
        """See `Origin.size`: as many as are asked for."""
        return ENDLESS

    def read(self, start: int, stop: int) -> Iterator[pa.Table]:
        """See `Origin.read`."""
        yield from in_order(self._one, range(start, stop), self._count)

    def judges(self, rule: str) -> bool:
        """See `Origin.judges`."""
        return rule != "clip_score_too_low"

    def close(self) -> None:
        """See `Origin.close`."""
        if "_children" in self.__dict__:
            self._children.close()

    @cached_property
    def _children(self) -> Children:
        manifest = self._manifest
        limits = Limits(manifest.documents.page_timeout_s, memory_bytes=manifest.documents.memory_bytes)
        settings = {"render": manifest.render, "language": manifest.language, "seed": manifest.seed}
        return Children("curate.origins.seeds:drawer", self._count, limits, msgspec.json.encode(settings))

    def _one(self, index: int) -> pa.Table:
        outcome = self._children.submit(str(index).encode()).result()
        rows_type = module("synthdog", "synthdog").ROWS
        if outcome.value is None:
            failure = {"dropped": [outcome.reason], "detail": [outcome.detail]}
            empty = {name: pa.nulls(1, rows_type.field(name).type) for name in rows_type.names}
            row = pa.table(empty | failure, schema=rows_type)
        else:
            row = pa.Table.from_batches([ipc.read_record_batch(pa.py_buffer(outcome.value), rows_type)])
        return self._sample(index, row)

    def _sample(self, index: int, row: pa.Table) -> pa.Table:
        manifest, identity = self._manifest, [str(self._manifest.seed), str(index)]
        return conform(
            pa.table(
                {
                    "key": keys(manifest.name, [pa.array([part], pa.large_string()) for part in identity]),
                    "dataset": [manifest.name],
                    "task": [manifest.task],
                    "language": [manifest.language],
                    "source": [f"seed-{manifest.seed}#{index}"],
                    **{column: row[column] for column in COPIED},
                    "stage": pa.array([None if row["dropped"][0].as_py() is None else STAGE], pa.string()),
                }
            )
        )


def seeds(manifest: Manifest, uris: Sequence[str]) -> Input:
    """The one input of a synthetic data set: settings, fonts, corpus and pictures, which decide every byte.

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
    try:
        settings = module("synthdog.settings", "synthdog").load(manifest.render, manifest.language)
        used = synthdog.Resources.load(settings, manifest.language).record()
    except errors.SettingsError as error:
        raise ManifestError(f"[render]: {error}") from None
    except errors.ResourceError as error:
        raise MachineError(str(error)) from None
    identity = msgspec.json.encode([manifest.render, manifest.language, manifest.seed, used], order="sorted")
    return Input(f"seed:{manifest.seed}", "", 0, hashlib.sha256(identity).hexdigest()[:32])


def drawer(settings: bytes) -> Callable[[bytes], bytes]:
    """What a child process does with each number: its image's row as an Arrow message."""
    import synthdog

    known = msgspec.json.decode(settings)
    template = synthdog.Template(known["render"], language=known["language"])
    return lambda index: template.generate(known["seed"], [int(index)]).serialize().to_pybytes()
