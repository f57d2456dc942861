"""deploy/ and docs/cluster.md name what there is."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
HELP_OPTIONS = {"--address", "--input", "--out", "--log", "--metrics"}


def load(name: str) -> Any:
    return yaml.safe_load((DEPLOY / name).read_text(encoding="utf-8"))


def version_of(package: str) -> str:
    found = re.search(rf"^{package}==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert found
    return found[1]


def test_the_job_on_kubernetes_runs_the_ray_that_is_tested_and_takes_curates_exit_code() -> None:
    job = load("kuberay.yaml")
    assert (job["kind"], job["apiVersion"]) == ("RayJob", "ray.io/v1")
    assert job["spec"]["rayClusterSpec"]["rayVersion"] == version_of("ray")
    assert set(re.findall(r"--[a-z]+", job["spec"]["entrypoint"])) <= HELP_OPTIONS
    head = job["spec"]["rayClusterSpec"]["headGroupSpec"]
    assert head["rayStartParams"]["num-cpus"] == "0"
    images = [
        container["image"]
        for group in (head, *job["spec"]["rayClusterSpec"]["workerGroupSpecs"])
        for container in group["template"]["spec"]["containers"]
    ]
    assert len(set(images)) == 1


def test_rays_launcher_starts_heads_and_workers_of_one_version() -> None:
    cluster = load("ray-cluster.yaml")
    assert cluster["head_node_type"] in cluster["available_node_types"]
    wheel = f"curate-{tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']['version']}-"
    assert any(wheel in command for command in cluster["setup_commands"])
    assert all(Path(name).name in "".join(cluster["setup_commands"]) for name in cluster["file_mounts"])


def test_the_script_for_slurm_is_sound() -> None:
    script = DEPLOY / "slurm.sh"
    assert subprocess.run(["bash", "-n", str(script)], check=False).returncode == 0
    assert set(re.findall(r"(?<=curate run ).*", script.read_text())) == {
        '"$@" --address "$address:$port" --log json &'
    }


def test_the_image_copies_what_there_is_and_installs_extras_that_there_are() -> None:
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    stages = re.findall(r"^FROM (\S+) AS (\w+)$", text, re.MULTILINE)
    assert [name for _, name in stages] == ["build", "slim", "full"]
    for line in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE):
        assert all((ROOT / name).exists() for name in line.split())
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(re.findall(r"\.whl\)\[(\w+)\]", text)) <= set(extras)


@pytest.mark.parametrize("name", ["Dockerfile", "kuberay.yaml", "ray-cluster.yaml", "slurm.sh"])
def test_the_page_on_clusters_names_each_file(name: str) -> None:
    assert f"deploy/{name}" in (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")


def test_the_arithmetic_of_the_page_on_clusters_adds_up() -> None:
    rows, fetched, units = 5e9, 2e9, 500_000
    metadata, unit, shrunk, kept = rows * 60e-6 / 3600, units * 0.02 / 3600, fetched * 2.26e-3 / 3600, 711
    waiting = fetched / 2000 / 3600
    told = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
    for value, said in (
        (metadata, "83 h"),
        (unit, "3 h"),
        (shrunk, "1,256 h"),
        (kept, "711 h"),
        ((metadata + unit + shrunk) / 16, "84 h"),
        (waiting, "278 node hours"),
        (1.4e9 * 80e3 / 1e12, "112 TB"),
    ):
        assert said in told
        assert round(value) == int(said.split()[0].replace(",", ""))
