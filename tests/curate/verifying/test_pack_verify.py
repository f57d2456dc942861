from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.errors import InputError
from curate.packing import PackSettings, pack
from curate.verifying.command import lines, verify
from curate.verifying.repair import repair
from tests.curate.made_shards import make_shards
from tests.curate.runs import curate

NAME = "pack-000000.parquet"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Packs of 300 tokens, for which some samples are too long."""
    folder = tmp_path_factory.mktemp("packed")
    pack([str(make_shards(folder / "shards"))], str(folder / "packs"), PackSettings(seq_len=300))
    return folder / "packs"


@pytest.fixture
def packs(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "packs"))


def told(folder: Path) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((folder / "_manifest.json").read_text())
    return manifest


def damage(folder: Path, change: Callable[[pa.Table], pa.Table]) -> list[str]:
    """What is found where a pack holds other sequences, and the manifest knows its checksum."""
    table = pq.read_table(folder / NAME)
    pq.write_table(change(table).replace_schema_metadata(table.schema.metadata), folder / NAME)
    body, manifest = (folder / NAME).read_bytes(), told(folder)
    manifest["shards"][0] |= {"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}
    (folder / "_manifest.json").write_text(json.dumps(manifest))
    found: dict[str, list[str]] = verify(str(folder))["damaged"]
    return found.get(NAME, found.get("_manifest.json", []))


def lists(name: str, change: Callable[[list[Any]], list[Any]]) -> Callable[[pa.Table], pa.Table]:
    """Changes the first sequence's list of that name."""

    def changed(table: pa.Table) -> pa.Table:
        values = table[name].to_pylist()
        values[0] = change(values[0])
        at = table.schema.get_field_index(name)
        return table.set_column(at, table.schema.field(name), pa.array(values, table.schema.field(name).type))

    return changed


def test_whole_packs_are_said_to_be(whole: Path) -> None:
    found = verify(str(whole))
    assert found["damaged"] == {}
    assert found["sequences"] == sum(counts["sequences"] for counts in told(whole)["tasks"].values()) > 0
    assert told(whole)["dropped"]
    assert list(lines(found)) == [f"{found['sequences']} sequences in 1 pack: all is as it should be"]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lists("tokens", lambda tokens: [1] * 301), "a sequence has more than 300 tokens"),
        (lists("tokens", lambda tokens: [10**6, *tokens[1:]]), "a token is not of the tokenizer"),
        (lists("loss_mask", lambda mask: mask[1:]), "a loss mask is not as long as its tokens"),
        (lists("keys", lambda keys: [*keys, "more"]), "segments and keys do not go together"),
        (lists("segments", lambda s: [1, *s[1:]]), "segments do not cut a sequence into samples"),
        (lists("segments", lambda s: [*s[:-1], s[-1] + 1]), "segments do not cut a sequence into samples"),
        (
            lists("images", lambda images: [{"bytes": b"", "path": "x", "start": 300}]),
            "an image stands outside its sequence",
        ),
        (lambda table: table.slice(1), "rows instead of"),
        (lambda table: table.drop_columns("keys"), "its columns are not those it should have"),
        (lambda table: table.take(pa.array([0, *range(table.num_rows - 1)])), "its counts by task are"),
    ],
)
def test_each_invariant_is_computed_again(
    packs: Path, change: Callable[[pa.Table], pa.Table], problem: str
) -> None:
    assert any(problem in one for one in damage(packs, change))


def test_each_damaged_file_is_named(packs: Path) -> None:
    body = bytearray((packs / NAME).read_bytes())
    body[len(body) // 2] ^= 1
    (packs / NAME).write_bytes(body)
    (packs / "pack-000007.parquet").write_bytes(b"")
    (packs / "_dropped" / "dropped-000000.parquet").unlink()
    assert set(verify(str(packs))["damaged"]) == {NAME, "pack-000007.parquet", "_dropped"}
    (packs / NAME).unlink()
    assert verify(str(packs))["damaged"][NAME] == ["it is missing"]
    ended = curate("verify", packs)
    assert (ended.returncode, "pack again with --overwrite" in ended.stdout) == (1, True)


def test_a_manifest_that_lacks_something_is_damaged(packs: Path) -> None:
    manifest = told(packs)
    del manifest["tasks"]
    (packs / "_manifest.json").write_text(json.dumps(manifest))
    assert verify(str(packs))["damaged"] == {"_manifest.json": ["it lacks tasks"]}


def test_packs_are_not_repaired(packs: Path) -> None:
    with pytest.raises(InputError, match="holds packs"):
        repair(str(packs))
