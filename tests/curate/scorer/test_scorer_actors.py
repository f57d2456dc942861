from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from curate.cluster import alone
from curate.engine.command import Options, execute, request
from curate.engine.progress import Progress
from curate.errors import ManifestError
from curate.manifest.load import load
from curate.manifest.settings import ScorerSettings
from curate.scorer import open_scorer
from curate.scorer.actors import RemoteEncoder, hire
from curate.scorer.scorer import Scorer
from curate.scoring import score
from tests.curate.runs import done, files
from tests.curate.scored import MODEL, SCORER, asked, run_shapes, shape

pytest.importorskip("torch")
ray = pytest.importorskip("ray")


@pytest.fixture(scope="module")
def stable() -> Iterator[Any]:
    """A head without cores, and a node with one."""
    from ray.cluster_utils import Cluster

    with alone(ray):
        made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
        made.add_node(num_cpus=1)
    yield made
    made.shutdown()


@pytest.fixture
def cluster(stable: Any) -> Iterator[Any]:
    """A head without cores, and two nodes with one each, one of which may die."""
    if not getattr(stable, "doomed", None):
        stable.doomed = stable.add_node(num_cpus=1)
    yield stable
    ray.shutdown()


class Killer(Progress):
    """A meter that has a node killed once something is done."""

    def __init__(self, cluster: Any) -> None:
        super().__init__(Console(file=io.StringIO()), quiet=True)
        self._cluster, self.killed = cluster, False

    def add(self, **counts: int) -> None:
        """Kill, once."""
        super().add(**counts)
        if not self.killed and (counts.get("kept") or counts.get("images")):
            self.killed = True
            self._cluster.remove_node(self._cluster.doomed, allow_graceful=False)
            self._cluster.doomed = None


def test_a_node_that_dies_in_mid_scoring_costs_nothing_but_time(cluster: Any, tmp_path: Path) -> None:
    lost = run_shapes(tmp_path / "lost", rows=36, unit=3)
    calm = Path(shutil.copytree(lost, tmp_path / "calm"))
    score(str(calm), asked())
    killer = Killer(cluster)
    result = score(str(lost), asked(), workers=2, address=cluster.address, progress=killer)
    assert killer.killed
    assert len(result["shards"]) == 12
    assert files(lost) == files(calm)


def test_a_node_that_dies_in_a_run_that_scores_costs_nothing_but_time(cluster: Any, tmp_path: Path) -> None:
    run_shapes(tmp_path / "other", rows=36, unit=3)  # leaves its input
    source, settings = str(tmp_path / "other.parquet"), (f"scorer.model={MODEL}", "scorer.device=cpu")
    settings += ("shard.rows=3", "rules.clip_score_too_low.min_score=0.5")
    done("run", "laion", "--input", source, "--out", tmp_path / "calm", "--workers", "0",
         *(word for one in settings for word in ("--set", one)))  # fmt: skip
    wanted = request(load("laion", settings), [source])
    killer = Killer(cluster)
    execute(wanted, str(tmp_path / "lost"), Options(workers=2, address=cluster.address), killer)
    assert killer.killed
    assert files(tmp_path / "lost") == files(tmp_path / "calm")


def test_scorers_that_die_are_started_again_and_asked_again(cluster: Any) -> None:
    ray.init(address=cluster.address)
    image, text = shape(1)
    with open_scorer(SCORER, cores=1) as here:
        wanted, seen = here.encoder.texts([text])(), here.embed_images([image])
    actors = hire(SCORER, 2)
    encoder = RemoteEncoder(actors)
    assert np.allclose(encoder.texts([text])(), wanted, atol=1e-6)
    for actor in actors:
        ray.kill(actor, no_restart=False)
    assert np.allclose(encoder.texts([text])(), wanted, atol=1e-6)
    with Scorer(encoder, 1) as there:
        assert np.allclose(there.embed_images([image]), seen, atol=1e-6)


def test_a_scorer_of_one_gpu_of_many_is_refused_on_a_cluster(cluster: Any) -> None:
    ray.init(address=cluster.address)
    with pytest.raises(ManifestError, match="say cuda"):
        hire(ScorerSettings(model=SCORER.model, device="cuda:1"))
