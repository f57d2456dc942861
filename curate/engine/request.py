"""What a run was asked to do, and what is noted of it once it has begun."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from curate.engine.plan import Retry
from curate.manifest.settings import Manifest, ShardSettings
from curate.sources import Input

SELECT_ROWS = 2**18  # input rows of a unit of a selection, by default


class Request(msgspec.Struct, frozen=True):
    """What a run was asked to do. On its folder, the same request goes on, and another one is refused."""

    manifest: Manifest
    inputs: tuple[Input, ...]
    limit: int | None = None  # take only the first rows, so many
    sample: float = 1.0  # take this share of the rows
    retry: Retry | None = None  # take only rows that an earlier run dropped
    select: bool = False  # a selection: only rules that need no image

    def plain(self) -> dict[str, Any]:
        """Return the request as plain data, as JSON has it."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        if not self.select:
            del plain["select"]
        return plain

    @property
    def unit_rows(self) -> int:
        """Input rows of a unit: `shard.rows`; for a selection SELECT_ROWS, unless the manifest changes `shard.rows`."""
        rows = self.manifest.shard.rows
        return SELECT_ROWS if self.select and rows == ShardSettings().rows else rows


class Begun(msgspec.Struct, frozen=True):
    """A run that has begun: the content of `_run/run.json`."""

    request: dict[str, Any]
    rows: tuple[int, ...]  # of each input, after --limit
    started: str  # UTC, ISO 8601
    lineage: dict[str, Any] = {}  # fields of `_manifest.json` about earlier versions, to be kept
    before: int = 0  # units that were finished before inputs were added
    growth: int = 0  # how often inputs were added

    def digest(self) -> str:
        """Return the hex digest of all this, which names the run among all others."""
        return hashlib.blake2b(msgspec.json.encode(self, order="sorted"), digest_size=16).hexdigest()
