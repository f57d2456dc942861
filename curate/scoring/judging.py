"""`curate score --flags FILE`: flags, heads and rules on them, written as in a manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.engine.flagging import Flagging, verdicts, with_groups
from curate.engine.score import Scoring
from curate.errors import ManifestError
from curate.manifest import parsing
from curate.manifest.load import parse
from curate.manifest.pinning import pin
from curate.manifest.settings import Manifest, ScorerSettings
from curate.schema import SHARD
from curate.scorer.items import ItemBodies, worst_of
from curate.scorer.table import EachImage

TABLES = ("flags", "heads", "rules")
BARE = {"name": "models", "title": "", "licence": "", "homepage": ""}


class Models(msgspec.Struct, frozen=True):
    """Flags, heads and rules with every default filled in, as `_manifest.json` keeps them."""

    flags: dict[str, Any]
    heads: dict[str, Any]
    rules: dict[str, Any]

    def manifest(self) -> Manifest:
        """A manifest with these flags, heads and rules, and nothing else."""
        return msgspec.convert(BARE | msgspec.to_builtins(self), Manifest)


def read_models(file: str, scorer: ScorerSettings | None) -> Models:
    """Read the flags, heads and rules of a TOML file; a model's relative path starts at the file's folder.

    Raises:
        ManifestError: the file cannot be read, has other tables, has neither flags nor heads, or has a rule on
            something else; see `curate.manifest.load.load`.
    """
    path = Path(file)
    tree = parsing.read(path, file)
    if others := [name for name in tree if name not in TABLES]:
        raise ManifestError(
            f"{file} has {others[0]!r}: it may have the tables flags.NAME, heads.NAME and rules.NAME"
        )
    pin(tree, path.parent)
    manifest = parse(BARE | {"scorer": msgspec.to_builtins(scorer)} | tree, origin=file)
    if not manifest.flags and not manifest.heads:
        raise ManifestError(f"{file} has neither [flags.NAME] nor [heads.NAME]")
    if others := [name for name in manifest.active_rules() if name not in manifest.rules_on_models()]:
        raise ManifestError(
            f"{file}: rule {others[0]!r} must have a column flags.NAME or heads.NAME of this file"
        )
    plain = {name: getattr(manifest, name) for name in TABLES}
    return msgspec.json.decode(
        msgspec.json.encode(plain), type=Models
    )  # the same values as reading them back from `_manifest.json` gives


def flag_shard(
    table: pa.Table, fallen: pa.Array, each: EachImage | None, flagging: Flagging, scoring: Scoring | None
) -> tuple[pa.Table, pa.Array, pa.Array]:
    """Apply flags and heads to scored rows (N rows of SHARD), and judge the rows by the rules on them.

    Returns the rows with the values in `extra`, the rule that drops each row, and the value that decided (N each, null
    for rows that stay). Rows that have `fallen` already (N reasons, null for the others) get no values. The models
    judge every image of a dialogue (`each` has the images' features), and the dialogue gets the worst value: the
    highest, or the lowest if the rules on it have only a `min`.


    Raises: see `Flagging.values` and `with_groups`.
    """
    bodies = ItemBodies(*(table[name].combine_chunks() for name in ("image", "images")))
    row = np.repeat(np.arange(table.num_rows), bodies.counts)
    features = table["clip_features"].combine_chunks() if each is None else each.features
    values = flagging.values(pc.is_null(fallen).take(pa.array(row)), features, scoring, bodies.take)
    said = {
        group: {
            name: worst_of(of, bodies.counts, flagging.lowest_is_worst(f"{group}{name}"))
            for name, of in found.items()
        }
        for group, found in values
    }
    extra = with_groups(table["extra"].combine_chunks(), said)
    table = table.set_column(SHARD.get_field_index("extra"), SHARD.field("extra"), extra)
    return table, *verdicts(said, flagging.rules)
