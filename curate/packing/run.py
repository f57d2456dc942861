"""`curate pack`: shards of several tasks to packed training sequences, globally shuffled, in two passes."""

from __future__ import annotations

import datetime
import hashlib
import json
import math
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.errors import InputError, ManifestError, OutputError
from curate.packing import mix as mixes
from curate.packing.buckets import Buckets, draw
from curate.packing.read import SampleReader
from curate.packing.sequences import SAMPLES, pack_samples
from curate.packing.settings import PackSettings
from curate.packing.tokenizer import Tokenizer, load
from curate.packing.write import write_dropped, write_packs
from curate.storage.dataset import DataSet, find
from curate.storage.listing import DROPPED_FILES
from curate.storage.store import Store
from curate.tasks.dialect import Dialect
from curate.tasks.formats import QWEN_VL
from curate.version import __version__

COLUMNS = {"key", "dataset", "task", "image", "prompt", "target", "source", "url", "text"}
MAX_BUCKETS = 10_000


def pack(paths: list[str], out: str, settings: PackSettings = PackSettings()) -> dict[str, Any]:  # noqa: B008
    """Pack the shards in `paths` into the folder `out`; gives what its `_manifest.json` says.

    Raises:
        ManifestError: a setting or the mix is wrong.
        InputError: no shards, unfinished or damaged ones, or a tokenizer that does not do.
        OutputError: `out` holds other packs and `overwrite` is not set.
    """
    settings.check()
    data = find(paths)
    if lacking := COLUMNS - set(data.schema.names):
        raise InputError(f"{data.files[0].uri} is no shard: it lacks {', '.join(sorted(lacking))}")
    dialect = settings.load_dialect()
    tokenizer = load(settings.tokenizer, settings.end_token, settings.image_pad, dialect)
    mix = mixes.load(settings.mix) if settings.mix else mixes.Mix()
    told = {"dialect": dialect.digest} if dialect.name != QWEN_VL.name else {}
    plan = {
        "settings": told
        | settings.resolved()
        | {"tokenizer": tokenizer.sha256, "mix": msgspec.to_builtins(mix)},
        "inputs": [{"uri": file.uri, "bytes": file.bytes, "rows": file.rows} for file in data.files],
        "digest": data.digest,
    }
    store = Store(out)
    if (done := _done(store, plan, settings.overwrite)) is not None:
        return done
    store.lock()
    try:
        return _pack(data, store, Way(settings, tokenizer, dialect), mix, plan)
    finally:
        store.unlock()


class Way(NamedTuple):
    """How samples become sequences."""

    settings: PackSettings
    tokenizer: Tokenizer
    dialect: Dialect

    @property
    def grids(self) -> bool:
        """Whether images are grids of patches."""
        return self.dialect.cost.rule == "smart_resize"

    def describe(self) -> dict[str, Any]:
        """What a pack's metadata says of it; of the dialect only where it is not Qwen-VL's own."""
        said: dict[str, Any] = {"tokenizer": self.tokenizer.describe()}
        if self.dialect.name == QWEN_VL.name:
            return said
        cost = {name: value for name, value in self.dialect.describe()["cost"].items() if value}
        dialect = {"name": self.dialect.name, "digest": self.dialect.digest, "cost": cost}
        return said | {"dialect": dialect | {"boxes_fit_one_setting": self.dialect.one_setting}}


def _pack(data: DataSet, store: Store, way: Way, mix: mixes.Mix, plan: dict[str, Any]) -> dict[str, Any]:
    started, settings = _now(), way.settings
    _clear(store)
    reader = SampleReader(data, settings, way.tokenizer, way.dialect)
    epochs = mixes.epochs(mix, reader.amounts(count_tokens=mix.needs_tokens))
    count = max(1, math.ceil(reader.memory * max(epochs.values(), default=1.0) / settings.bucket_bytes))
    if count > MAX_BUCKETS:
        raise ManifestError(f"bucket_bytes {settings.bucket_bytes} makes {count} buckets: give it more")
    with tempfile.TemporaryDirectory(prefix="curate-pack-", dir=_scratch(store)) as scratch:
        buckets = Buckets(Path(scratch) / "buckets", count, settings.bucket_bytes)
        for samples in reader.samples(epochs):
            buckets.add(samples)
        buckets.flush()
        tally: dict[str, Counter[str]] = {}
        packs = write_packs(store, _sequences(buckets, way, tally), settings, way.describe(), way.grids)
    write_dropped(store, reader.dropped)
    said = {
        "curate_version": __version__,
        "kind": "packs",
        "plan": _digest(plan),
        **plan,
        **way.describe(),
    }
    ends = {"shards": [msgspec.to_builtins(file) for file in packs], "started": started, "finished": _now()}
    written = json.dumps(said | _counts(data, reader, tally, settings) | ends, indent=1)
    store.write_bytes("_manifest.json", written.encode())
    store.delete_folder("_run")
    return dict(json.loads(written))


def _counts(
    data: DataSet, reader: SampleReader, tally: dict[str, Counter[str]], settings: PackSettings
) -> dict[str, Any]:
    """What became of the rows.

    Raises:
        OutputError: they do not add up.
    """
    dropped = dict(sorted(reader.reasons.items()))
    if data.rows != reader.packed + sum(dropped.values()):
        raise OutputError(f"{data.rows} rows in, but {reader.packed} packed and {dropped} dropped: a bug")
    return {
        "rows_in": data.rows,
        "rows_out": reader.packed,
        "dropped": dropped,
        "copies": sum(counts["samples"] for counts in tally.values()),
        "tasks": {task: _padding(counts, settings.seq_len) for task, counts in sorted(tally.items())},
    }


def _sequences(buckets: Buckets, way: Way, tally: dict[str, Counter[str]]) -> Iterator[pa.Table]:
    """The sequences of all buckets; within one the tasks' sequences are shuffled together."""
    settings = way.settings
    limits = (settings.max_images, settings.max_patches, way.grids)
    waiting: dict[str, pa.Table] = {}
    for bucket in range(buckets.count):
        samples, last = buckets.read(bucket, SAMPLES), bucket == buckets.count - 1
        found = []
        for task in sorted({*samples["task"].unique().to_pylist(), *waiting}):
            some = samples.filter(pc.equal(samples["task"], task))
            some = pa.concat_tables([waiting.pop(task, SAMPLES.empty_table()), some])
            packs, rest = pack_samples(some, settings.seq_len, last, *limits)
            if rest.num_rows:
                waiting[task] = rest
            found.append(packs)
            counts = tally.setdefault(task, Counter())
            tokens = pc.sum(pc.list_value_length(packs["tokens"])).as_py() or 0
            samples_in = pc.sum(pc.list_value_length(packs["keys"])).as_py() or 0
            counts.update(sequences=packs.num_rows, tokens=tokens, samples=samples_in)
        if found:
            together = pa.concat_tables(found).unify_dictionaries()
            order = np.argsort(draw(settings.seed, 2 + bucket, np.arange(together.num_rows)), kind="stable")
            yield together.take(pa.array(order))


def _done(store: Store, plan: dict[str, Any], overwrite: bool) -> dict[str, Any] | None:
    """The manifest of the same packs, if they are there already."""
    raw = store.read_bytes("_manifest.json")
    if raw is None:
        if store.names() and not overwrite and not store.names("_run"):
            raise OutputError(f"{store.uri} is not empty: give another folder, or --overwrite")
        return None
    try:
        manifest: dict[str, Any] = json.loads(raw)
    except ValueError:
        manifest = {}
    if manifest.get("plan") == _digest(plan):
        return manifest
    if not overwrite:
        raise OutputError(f"{store.uri} holds packs of other inputs or settings: give --overwrite")
    return None


def _clear(store: Store) -> None:
    """Remove what an earlier or unfinished command left."""
    store.delete("_manifest.json")
    for name in store.names():
        if name.startswith("pack-"):
            store.delete(name)
    store.delete_folder("_dropped")
    store.delete(DROPPED_FILES)


def _scratch(store: Store) -> str | None:
    """A folder for the buckets: in the output where that is a local folder, else the machine's."""
    if not store.local:
        return None
    folder = Path(store.path("_run/tmp"))
    folder.mkdir(parents=True, exist_ok=True)
    return str(folder)


def _padding(counts: Counter[str], seq_len: int) -> dict[str, Any]:
    room = counts["sequences"] * seq_len
    return dict(counts) | {"padding": round(1 - counts["tokens"] / room, 6) if room else 0.0}


def _digest(plan: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
