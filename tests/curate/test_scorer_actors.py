from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from curate.scorer import score
from tests.curate.runs import files
from tests.curate.scored import asked, run_shapes

pytest.importorskip("torch")
ray = pytest.importorskip("ray")


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A head without cores, and two nodes with one each."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # its ports are for this test alone
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    made.doomed, _ = made.add_node(num_cpus=1), made.add_node(num_cpus=1)
    yield made
    ray.shutdown()
    made.shutdown()


class Killer:
    """A meter that has a node killed once the first shard is scored."""

    def __init__(self, cluster: Any) -> None:
        self._cluster, self.killed = cluster, False

    def say(self, line: str) -> None:
        """Nothing."""

    def add(self, **counts: int) -> None:
        """Kill, once."""
        if not self.killed:
            self.killed = True
            self._cluster.remove_node(self._cluster.doomed, allow_graceful=False)


def test_a_node_that_dies_in_mid_scoring_costs_nothing_but_time(cluster: Any, tmp_path: Path) -> None:
    lost = run_shapes(tmp_path / "lost", rows=36, unit=3)
    calm = Path(shutil.copytree(lost, tmp_path / "calm"))
    score(str(calm), asked())
    killer = Killer(cluster)
    result = score(str(lost), asked(), workers=2, address=cluster.address, progress=killer)
    assert killer.killed
    assert len(result["shards"]) == 12
    assert files(lost) == files(calm)
