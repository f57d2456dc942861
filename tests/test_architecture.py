"""The promises of docs/architecture.md and DESIGN.md that a machine can check."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pyarrow as pa
import pytest

import filters
from curate import manifest as manifests
from curate.across import ACROSS, SPILL
from curate.schema import SAMPLE

ROOT = Path(__file__).parent.parent
DOCS = "\n".join(path.read_text() for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))])


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(arguments, capture_output=True, text=True, check=False, cwd=ROOT, timeout=120)


def test_layers_hold() -> None:
    linted = run(str(Path(sys.executable).with_name("lint-imports")), "--no-logo")
    assert linted.returncode == 0, linted.stdout


@pytest.mark.parametrize("name", sorted(filters.RULES))
def test_a_rule_reads_columns_that_there_are(name: str) -> None:
    known = SPILL.names if name in ACROSS else SAMPLE.names
    assert set(filters.RULES[name].columns) <= set(known)


@pytest.mark.parametrize("name", sorted(set(filters.RULES) - ACROSS))
def test_a_rule_never_keeps_a_row_whose_values_are_null(name: str) -> None:
    rule = filters.RULES[name]
    nothing = pa.table({column: pa.nulls(2, SAMPLE.field(column).type) for column in rule.columns})
    settings = {key: _some(setting.type) for key, setting in rule.settings.items()}
    assert pa.compute.sum(rule.keep(nothing, **settings).fill_null(False)).as_py() == 0


@pytest.mark.parametrize("name", manifests.builtin())
def test_a_manifest_as_shown_is_the_manifest(name: str, tmp_path: Path) -> None:
    loaded = manifests.load(name)
    (tmp_path / "shown.toml").write_text(manifests.to_toml(loaded))
    assert manifests.load(str(tmp_path / "shown.toml")) == loaded


def test_every_command_is_in_the_documents() -> None:
    listed = re.findall(r"^  ([a-z]+)  ", run(sys.executable, "-m", "curate", "--help").stdout, re.MULTILINE)
    assert len(listed) >= 7
    missing = [command for command in listed if f"curate {command}" not in DOCS]
    assert missing == []


def test_every_rule_is_in_the_documents() -> None:
    assert [name for name in filters.RULES if f"`{name}`" not in DOCS] == []


def test_every_key_of_a_manifest_is_in_the_documents_with_its_default() -> None:
    page = (ROOT / "docs" / "manifests.md").read_text()
    for table, struct in manifests._TABLES.items():
        section = re.search(
            rf"^## {re.escape(f'`[{table}]`' if table else 'The top')}.*?(?=^## |\Z)", page, re.M | re.S
        )
        assert section is not None, table
        for field in msgspec.structs.fields(struct):
            if table or field.name not in manifests._TABLES:
                default = "required" if field.required else json.dumps(msgspec.to_builtins(field.default))
                row = f"| `{field.name}` | {'none' if default == 'null' else default if field.required else f'`{default}`'} |"
                assert row in section[0] or field.default_factory is not msgspec.NODEFAULT, row


def test_the_readme_is_short_and_ci_runs_its_second_command() -> None:
    readme = (ROOT / "README.md").read_text()
    assert len(readme.splitlines()) < 150
    second = re.findall(r"```sh\n(.+?)\n```", readme, re.DOTALL)[1]
    assert second in (ROOT / ".ci" / "run").read_text().splitlines()


def test_help_imports_nothing_costly() -> None:
    code = "import sys, curate.cli; print([m for m in ('pyarrow', 'ray', 'numpy', 'PIL', 'rich') if m in sys.modules])"
    assert run(sys.executable, "-c", code).stdout.strip() == "[]"


def _some(kind: object) -> object:
    return next(
        value
        for value in (1, "", ["<x>"])
        if not isinstance(_converted(value, kind), msgspec.ValidationError)
    )


def _converted(value: object, kind: object) -> object:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        return error
