"""The identity of a scorer, kept in every scored shard: enough to build it again and to tell two apart."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pyarrow as pa

from curate.errors import MachineError

FIELD = b"curate"  # the key of our JSON in a shard's schema metadata


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """A scorer, as shards and `_manifest.json` name it."""

    model: str  # an open_clip name, hf-hub:OWNER/NAME, or the folder of an open_clip_config.json
    pretrained: str  # a tag, or the path of a weights file, as it was given
    weights_sha256: str
    config: dict[str, Any]  # open_clip's description of the architecture
    preprocessing: dict[str, Any]  # size, mean, std, interpolation, resize_mode, fill_color, exact
    precision: str  # fp32, bf16 or fp16
    dimension: int  # of a feature
    context_length: int  # tokens of a text that are seen
    tokenizer_sha256: str  # of the tokens it makes of a few known texts
    open_clip: str  # its version

    def plain(self) -> dict[str, Any]:
        """As JSON data."""
        plain: dict[str, Any] = json.loads(msgspec.json.encode(self))
        return plain

    def space(self) -> dict[str, Any]:
        """The fields that decide the features; the path of the weights and open_clip's version do not."""
        plain = self.plain()
        return {name: plain[name] for name in plain if name not in ("model", "pretrained", "open_clip")}

    def same(self, other: Identity) -> bool:
        """Whether both scorers give the same features."""
        return self.space() == other.space()

    def difference(self, other: Identity) -> str:
        """Say in words the first field in which two different scorers differ."""
        name = ""
        mine: Any = self.space()
        theirs: Any = other.space()
        while isinstance(mine, dict) and isinstance(theirs, dict):
            key = next(key for key in mine | theirs if mine.get(key) != theirs.get(key))
            name, mine, theirs = f"{name}.{key}".lstrip("."), mine.get(key), theirs.get(key)
        return f"{name} {_short(theirs)} instead of {_short(mine)}"

    def __str__(self) -> str:
        return f"{self.model} {self.pretrained or self.weights_sha256[:12]} {self.precision}"


def from_plain(plain: dict[str, Any]) -> Identity:
    """The identity that `Identity.plain` wrote.

    Raises:
        MachineError: it is malformed, or written by a newer version of curate.
    """
    try:
        return msgspec.convert(plain, Identity)
    except msgspec.ValidationError as error:
        raise MachineError(f"the scorer recorded here cannot be understood: {error}") from None


def recorded(schema: pa.Schema) -> Identity | None:
    """The scorer that a shard's schema names; None if the shard was not scored."""
    plain = json.loads((schema.metadata or {}).get(FIELD, b"{}")).get("scorer")
    return None if plain is None else from_plain(plain)


def record(schema: pa.Schema, identity: Identity) -> pa.Schema:
    """The schema with this scorer named in its metadata; other metadata is kept."""
    metadata = dict(schema.metadata or {})
    said = json.loads(metadata.get(FIELD, b"{}")) | {"scorer": identity.plain()}
    return schema.with_metadata(metadata | {FIELD: json.dumps(said, sort_keys=True).encode()})


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
