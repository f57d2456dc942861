"""What a node of a cluster says when it is looked at; tests/curate/engine/test_far.py asks real ones."""

from __future__ import annotations

from pathlib import Path

import msgspec

from curate.engine.nodes import PROBE, Wanted, _lacks, code_digest
from curate.storage.store import Store
from curate.version import __version__


def wanted(folder: Path, **changes: object) -> Wanted:
    Store(str(folder)).write_bytes(PROBE, b"token")
    asked = Wanted(__version__, code_digest(), str(folder), "token", (), None)
    return msgspec.structs.replace(asked, **changes)


def test_a_node_that_sees_all_lacks_nothing(tmp_path: Path) -> None:
    (tmp_path / "in.parquet").touch()
    assert _lacks(wanted(tmp_path / "out", inputs=(str(tmp_path / "in.parquet"),))) == ""


def test_a_node_with_another_curate_says_so(tmp_path: Path) -> None:
    assert "has another curate" in _lacks(wanted(tmp_path, code="another"))


def test_a_node_that_does_not_share_the_output_folder_says_so(tmp_path: Path) -> None:
    assert "does not see" in _lacks(wanted(tmp_path / "out", out=str(tmp_path / "elsewhere")))
    assert "does not see" in _lacks(wanted(tmp_path / "out", token="of another run"))


def test_a_node_that_does_not_see_an_input_or_the_pictures_names_it(tmp_path: Path) -> None:
    assert "does not see the input /nowhere/a.parquet" in _lacks(
        wanted(tmp_path, inputs=("/nowhere/a.parquet",))
    )
    assert "does not see the input /nowhere/images" in _lacks(wanted(tmp_path, images="/nowhere/images"))
