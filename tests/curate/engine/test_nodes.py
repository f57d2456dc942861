"""What a node of a cluster says when it is looked at; tests/curate/engine/test_far.py asks real ones."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from curate.engine import nodes
from curate.engine.nodes import PROBE, Wanted, _lacks, code_digest
from curate.errors import MachineError
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


class ClusterOfNames:
    """What `check_nodes_see` asks of Ray: nodes by name, each with its answer."""

    class exceptions:  # noqa: N801 (as Ray names it)
        class RayError(Exception): ...

        class TaskUnschedulableError(RayError): ...

        class NodeDiedError(RayError): ...

    def __init__(self, **answers: object) -> None:
        self.answers, self.ended = answers, False

    def nodes(self) -> list[dict[str, object]]:
        known = {"Alive": True, "Resources": {"CPU": 1.0}, "NodeManagerAddress": "x"}
        return [known | {"NodeID": name, "NodeManagerHostname": name} for name in self.answers]

    def wait(self, asked: list[str], **_: object) -> tuple[list[str], list[str]]:
        return asked, []

    def get(self, name: str) -> object:
        answer = self.answers[name]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def shutdown(self) -> None:
        self.ended = True


def asked_all(cluster: ClusterOfNames, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Look around on each node of a cluster."""
    monkeypatch.setattr(nodes, "start", lambda *_: cluster)
    monkeypatch.setattr(
        nodes, "on_node", lambda _ray, _function, node, _name: SimpleNamespace(remote=lambda _: node)
    )
    nodes.check_nodes_see("auto", [], Store(str(folder)))


GONE = (
    ClusterOfNames.exceptions.TaskUnschedulableError("gone"),
    ClusterOfNames.exceptions.NodeDiedError("died"),
)


@pytest.mark.parametrize("gone", GONE, ids=["gone", "died"])
def test_a_node_that_goes_while_it_is_asked_is_passed_over(
    gone: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked_all(ClusterOfNames(a=gone, b=""), tmp_path, monkeypatch)
    with pytest.raises(MachineError, match="no node with a CPU"):
        asked_all(ClusterOfNames(a=gone), tmp_path, monkeypatch)


def test_a_node_that_lacks_something_or_fails_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = ClusterOfNames(a="", b="has another curate")
    with pytest.raises(MachineError, match=r"node b \(x\) has another curate"):
        asked_all(cluster, tmp_path, monkeypatch)
    assert cluster.ended
    with pytest.raises(MachineError, match=r"node a .* cannot run curate: no memory"):
        asked_all(ClusterOfNames(a=ClusterOfNames.exceptions.RayError("no memory")), tmp_path, monkeypatch)
