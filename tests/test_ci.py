"""What CI runs, and the site that it builds."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def test_ci_runs_lint_types_and_layers_before_the_tests() -> None:
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    assert lines.index("make lint types layers") < lines.index("make test")
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {"lint", "types", "layers", "test", "docs"} <= set(targets)


def test_the_workflow_runs_what_ci_runs_and_builds_the_site() -> None:
    yaml = pytest.importorskip("yaml")
    flow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    commands = {
        name: [step["run"] for step in job["steps"] if "run" in step] for name, job in flow["jobs"].items()
    }
    assert commands == {"check": [".ci/run"], "docs": ["make docs"]}


def build(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder / "site"]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def test_the_site_builds_and_a_broken_link_fails_it(tmp_path: Path) -> None:
    pytest.importorskip("material")
    for name in ("docs", ".ci"):
        shutil.copytree(ROOT / name, tmp_path / name)
    for name in ("mkdocs.yml", "README.md", "CONTRIBUTING.md", "CHANGELOG.md"):
        shutil.copy(ROOT / name, tmp_path / name)
    built = build(tmp_path)
    assert built.returncode == 0, built.stderr
    assert "Two commands" in (tmp_path / "site" / "index.html").read_text()
    assert (tmp_path / "site" / "CONTRIBUTING" / "index.html").exists()
    with (tmp_path / "docs" / "tour.md").open("a") as page:
        page.write("\n[nowhere](nowhere.md)\n")
    broken = build(tmp_path)
    assert broken.returncode != 0
    assert "nowhere.md" in broken.stderr + broken.stdout


def test_the_shell_completes_commands() -> None:
    code = (
        "import sys; sys.argv[0] = 'curate'; from curate.cli.app import main; main()"  # the installed script
    )
    words = {"_CURATE_COMPLETE": "complete_bash", "COMP_WORDS": "curate ver", "COMP_CWORD": "1"}
    told = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | words,
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
        check=False,
    )
    assert told.stdout.split() == ["verify"], told.stderr
