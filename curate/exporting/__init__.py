"""`curate export`: shards and packs for the readers of other frameworks."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from curate.errors import InputError, ManifestError, OutputError, nearest
from curate.exporting.conversations import write_conversations
from curate.exporting.energon import write_energon
from curate.exporting.mds import write_mds
from curate.exporting.sample_files import Records
from curate.exporting.training import writer
from curate.exporting.webdataset import write_webdataset
from curate.storage.dataset import DataSet, find
from curate.storage.finished import read_manifest
from curate.storage.product_notes import note_product, source_folders
from curate.storage.store import Store
from curate.tasks.dialect import load_with
from curate.tasks.grouping import MAX_TURNS
from curate.version import __version__

FORMATS: dict[str, Callable[[Store, Records], list[str]]] = {
    "webdataset": write_webdataset,
    "energon": write_energon,
    "mds": write_mds,
    "qwen-vl": write_conversations,
}
TRAINING = {  # formats in a dialect, each with the one that it is in unless another is asked for
    "qwen3-vl": "qwen3-vl",
    "llava": "llava",
    "ms-swift": str(Path(__file__).with_name("ms-swift.toml")),
    "llama-factory": "qwen3-vl",
}


def export(
    source: str,
    to: str,
    out: str,
    dialect: str = "",
    dialect_settings: Sequence[str] = (),
    group: str = "",
    turns: int = MAX_TURNS,
) -> dict[str, Any]:
    """Write the shards or packs in `source` to the folder `out`; gives what its `_manifest.json` says.

    With `group="image"` questions, regions and references of one image become dialogues of at most `turns` questions.

    Raises:
        ManifestError: there is no such format, or it takes no dialect or groups.
        InputError: no shards or packs, or damaged ones.
        OutputError: `out` holds something else.
    """
    known = {**FORMATS, **TRAINING}
    if to not in known:
        raise ManifestError(f"cannot export to {to!r}{nearest(to, known)}")
    said: dict[str, Any] = {}
    most = _turns(to, group, turns)
    if to in TRAINING:
        spoken = load_with(dialect or TRAINING[to], dialect_settings)
        write = writer(to, spoken, most)
        said = {
            "dialect": {
                "name": spoken.name,
                "digest": spoken.digest,
                "boxes_fit_one_setting": spoken.one_setting,
            }
        }
        said["dialect"]["cost"] = {name: value for name, value in spoken.describe()["cost"].items() if value}
    elif dialect or dialect_settings:
        raise ManifestError(
            f"{to} has no dialect: it hands rows over as they are (these have one: {', '.join(TRAINING)})"
        )
    elif to == "qwen-vl":
        write = partial(write_conversations, turns=most)
    else:
        write = FORMATS[to]
    said |= {"group": group, "turns": most} if group else {}
    data = _find(source)
    store = Store(out)
    plan = {"kind": "export", "to": to, "digest": data.digest, **said}
    done = read_manifest(store)
    if done is not None:
        if {name: done.get(name) for name in plan} == plan:
            return done
        raise OutputError(f"{out} holds another export: give another folder")
    if store.names() and not store.names("_run"):
        raise OutputError(f"{out} is not empty: give another folder")
    store.lock()
    try:
        records = Records(data)
        files = write(store, records)
        options = ["--dialect", dialect] if dialect else []
        options += [word for one in dialect_settings for word in ("--dialect-set", one)]
        manifest = plan | {
            "curate_version": __version__,
            "made_of": source_folders([source]),
            "options": options,
            "rows_in": data.rows,
            "rows_out": records.written,
            "dropped": dict(records.dropped),
            "files": files,
        }
        store.write_bytes("_manifest.json", json.dumps(manifest, indent=1).encode())
        store.delete_folder("_run/tmp")
    finally:
        store.unlock()
    store.delete_folder("_run")
    note_product(manifest["made_of"], out)
    return manifest


def _turns(to: str, group: str, turns: int) -> int:
    """Questions of a dialogue at most; 0 where rows are not grouped."""
    if not group:
        return 0
    if group != "image":
        raise ManifestError(f"cannot group by {group!r}: say image")
    if to not in (*TRAINING, "qwen-vl"):
        raise ManifestError(
            f"{to} hands rows over as they are: only {', '.join([*TRAINING, 'qwen-vl'])} group them"
        )
    if not 1 <= turns <= 10_000:
        raise ManifestError(f"a dialogue has from 1 to 10,000 turns, not {turns}")
    return turns


def _find(source: str) -> DataSet:
    """Shards, or else packs."""
    try:
        return find([source])
    except InputError as error:
        if "no shard-" not in str(error):
            raise
        return find([source], "pack")
