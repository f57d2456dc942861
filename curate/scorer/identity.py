"""The identity of a scorer, stored in every scored shard: it serves to build the scorer again and to compare two."""

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
    dimension: int  # numbers in a feature
    context_length: int  # the text tower reads at most so many tokens
    tokenizer_sha256: str  # hash of the tokens that the tokenizer makes of a few known texts
    open_clip: str  # the version of open_clip

    def plain(self) -> dict[str, Any]:
        """The fields as JSON data: dicts, lists, texts and numbers."""
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
        """Describe the first field in which `other` differs from this scorer: `precision "fp16" instead of "fp32"`.

        Only for scorers that are not the `same`.
        """
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
