"""The promises of docs/architecture.md and DESIGN.md that a machine can check."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pyarrow as pa
import pytest

import filters
from curate.engine.across import ACROSS, SPILL
from curate.manifest import load as manifests
from curate.manifest.toml import to_toml
from curate.schema import SAMPLE
from tests.some_settings import some_settings

ROOT = Path(__file__).parent.parent
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
DOCS = "\n".join(path.read_text() for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))])


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(arguments, capture_output=True, text=True, check=False, cwd=ROOT, timeout=120)


def test_layers_hold() -> None:
    linted = run(str(Path(sys.executable).with_name("lint-imports")), "--no-logo")
    assert linted.returncode == 0, linted.stdout


@pytest.mark.parametrize("page", sorted(str(path.relative_to(ROOT)) for path in PAGES))
def test_prose_wraps_at_120(page: str) -> None:
    prose = re.sub(
        r"^ *```.*?^ *```", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE
    )
    lines = [line for line in prose.splitlines() if not line.startswith(("|", "    ", "!["))]
    assert [line for line in lines if len(line) > 120 and " " in line.strip().partition(" ")[2]] == []
    # A block of code opens and closes on lines of its own.
    assert [line for line in lines if "```" in line] == []


def test_the_documented_rooms_are_the_layers() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    page = (ROOT / "docs" / "architecture.md").read_text().partition("Inside `curate/`, a room may import")[2]
    documented = [line.split()[0] for line in page.split("```")[1].strip().splitlines()]
    assert documented == [room for layer in layers for room in layer.split(" | ")]


@pytest.mark.parametrize("name", sorted(filters.RULES))
def test_a_rule_reads_columns_that_there_are(name: str) -> None:
    known = {*SPILL.names} if name in ACROSS - {"near_duplicate", "similar_image"} else {*SAMPLE.names}
    assert set(filters.RULES[name].columns) <= known


@pytest.mark.parametrize("name", sorted(set(filters.RULES) - ACROSS))
def test_a_rule_never_keeps_a_row_whose_values_are_null(name: str) -> None:
    rule = filters.RULES[name]
    nothing = pa.table({column: pa.nulls(2, SAMPLE.field(column).type) for column in rule.columns})
    assert pa.compute.sum(rule.keep(nothing, **some_settings(name)).fill_null(False)).as_py() == 0


@pytest.mark.parametrize("name", manifests.builtin())
def test_a_manifest_as_shown_is_the_manifest(name: str, tmp_path: Path) -> None:
    loaded = manifests.load(name)
    (tmp_path / "shown.toml").write_text(to_toml(loaded))
    assert manifests.load(str(tmp_path / "shown.toml")) == loaded


def test_every_command_is_in_the_documents() -> None:
    listed = re.findall(r"^  ([a-z]+)  ", run(sys.executable, "-m", "curate", "--help").stdout, re.MULTILINE)
    assert len(listed) >= 7
    missing = [command for command in listed if f"curate {command}" not in DOCS]
    assert missing == []


def test_every_rule_is_in_the_documents() -> None:
    assert [name for name in filters.RULES if f"`{name}`" not in DOCS] == []


def test_every_built_in_manifest_is_in_the_documents() -> None:
    assert [name for name in manifests.builtin() if f"`{name}`" not in DOCS] == []


@pytest.mark.parametrize("table", sorted(manifests.TABLES))
def test_every_key_of_a_manifest_is_in_the_documents(table: str) -> None:
    page = (ROOT / "docs" / "manifests.md").read_text()
    heading = f"## `[{table}]`" if table else "## The top of the file"
    section = page.partition(f"{heading}\n")[2].partition("\n## ")[0]
    keys = [key for key in manifests.TABLES[table].__struct_fields__ if table or key not in manifests.TABLES]
    assert [key for key in keys if f"\n| `{key}` | " not in section] == []


def test_the_readme_is_short_and_ci_runs_its_second_command() -> None:
    readme = (ROOT / "README.md").read_text()
    assert len(readme.splitlines()) < 150
    second = re.findall(r"```sh\n(.+?)\n```", readme, re.DOTALL)[1]
    assert second in (ROOT / ".ci" / "run").read_text().splitlines()


def test_help_imports_nothing_costly() -> None:
    costly = ("pyarrow", "ray", "numpy", "PIL", "rich")
    code = f"import sys, curate.cli.app; print([name for name in {costly} if name in sys.modules])"
    assert run(sys.executable, "-c", code).stdout.strip() == "[]"


def test_a_run_that_fetches_nothing_imports_nothing_that_fetches() -> None:
    code = "import sys, curate.engine.command, curate.engine.unit; print('aiohttp' in sys.modules)"
    assert run(sys.executable, "-c", code).stdout.strip() == "False"
