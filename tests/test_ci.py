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
    assert commands == {"check": [".ci/run"], "audit": ["make audit"], "docs": ["make docs"]}


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
    # The installed script
    code = "import sys; sys.argv[0] = 'curate'; from curate.cli.app import main; main()"
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


def pins(name: str) -> dict[str, str]:
    """The versions that a file of requirements names."""
    return dict(re.findall(r"^([\w.-]+)==([^\s;\\]+)", (ROOT / name).read_text(), re.MULTILINE))


def test_the_lock_has_the_versions_that_the_tests_ran_with_and_their_hashes() -> None:
    locked, known = pins("requirements.lock"), pins("constraints.txt") | pins("overrides.txt")
    normal = {name.lower().replace("_", "-").replace(".", "-"): version for name, version in known.items()}
    assert {
        name for name in locked if normal.get(name.replace(".", "-")) not in (None, locked[name])
    } == set()
    assert len(locked) > 80
    blocks = re.split(r"^(?=[\w.-]+==)", (ROOT / "requirements.lock").read_text(), flags=re.MULTILINE)[1:]
    assert [block.split()[0] for block in blocks if "--hash=sha256:" not in block] == []


def test_no_old_library_that_another_package_asks_for_is_locked() -> None:
    locked = pins("requirements.lock")
    assert not re.search(
        r"^opencv-python==(?!.*never)", (ROOT / "requirements.lock").read_text(), re.MULTILINE
    )
    assert int(locked["urllib3"].split(".")[0]) >= 2
    assert int(locked["websockets"].split(".")[0]) >= 14
    assert not {"urllib3", "websockets", "opencv-python"} & set(pins("constraints.txt"))
