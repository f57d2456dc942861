"""Read from a scored folder what it takes to build its scorer again: its identity, and where its files are now."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pyarrow.parquet as pq

from curate.errors import InputError
from curate.manifest.settings import ScorerSettings
from curate.scorer.identity import Identity, recorded
from curate.storage.store import Store

MANIFEST = "_manifest.json"
BESIDE = "_scores"  # the folder for the scores of scorers that were given a name


def settings_of(
    folder: str, name: str, model: str | None, pretrained: str | None, device: str
) -> tuple[Identity, ScorerSettings]:
    """The identity of the folder's scorer, and the settings that build it on this machine; see `curate.scorer.load`.

    Raises:
        InputError: the folder holds no shards, or was not scored.
    """
    store = Store(folder)
    where = f"{BESIDE}/{name}" if name else ""
    names = [file for file in store.names(where) if file.startswith("shard-") and file.endswith(".parquet")]
    if not names:
        raise InputError(f"{store.uri}/{where} holds no shards")
    with store.fs.open_input_file(store.path(f"{where}/{names[0]}".lstrip("/"))) as file:
        identity = recorded(pq.read_schema(file))
    if identity is None:
        raise InputError(f"{store.uri} was not scored: curate score {store.uri} --model … does it")
    places = _places(store, name)
    return identity, ScorerSettings(
        model=model or _there(identity.model, places.get("model"), store),
        pretrained=pretrained or _there(identity.pretrained, places.get("pretrained"), store),
        precision=identity.precision,  # type: ignore[arg-type]
        device=device,
        exact=identity.preprocessing["exact"],
    )


def places(settings: ScorerSettings) -> dict[str, str]:
    """The absolute paths of the files that the settings name (`model`, `pretrained`), for `_manifest.json`."""
    named = {"model": settings.model.removeprefix("local-dir:"), "pretrained": settings.pretrained}
    return {key: str(Path(path).absolute()) for key, path in named.items() if path and Path(path).exists()}


def _places(store: Store, name: str) -> dict[str, str]:
    """The paths that `places` noted in the manifest; empty without a manifest."""
    manifest = msgspec.json.decode(store.read_bytes(MANIFEST) or b"{}")
    said = manifest.get("scorers", {}).get(name) if name else manifest.get("scored")
    found: dict[str, str] = (said or {}).get("places") or manifest.get("scorer_places", {})
    return found


def _there(given: str, noted: str | None, store: Store) -> str:
    """The first path that exists: `given`, `given` relative to the folder, `noted`; else `given` as it is."""
    if not given or Path(given).exists() or given.startswith("hf-hub:"):
        return given
    beside = Path(store.root) / given
    if store.local and beside.exists():
        return str(beside)
    return noted if noted and Path(noted).exists() else given
