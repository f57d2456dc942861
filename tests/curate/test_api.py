"""The commands as functions: `import curate`."""

from __future__ import annotations

import ast
import asyncio
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import curate
from tests.curate.runs import ROOT, done, files, pair, write_pairs
from tests.curate.runs import curate as command


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [pair(0), pair(1), pair(2, TEXT="no"), pair(3, WIDTH=60, HEIGHT=60), pair(4, similarity=0.1)]
    return write_pairs(tmp_path_factory.mktemp("source") / "part.parquet", rows)


@pytest.fixture(scope="module")
def made(source: Path, tmp_path_factory: pytest.TempPathFactory) -> curate.RunResult:
    out = tmp_path_factory.mktemp("made") / "shards"
    return curate.run("laion", out, [source], workers=0, progress=False)


def test_a_run_tells_what_its_manifest_tells(made: curate.RunResult) -> None:
    manifest = json.loads((Path(made.folder) / "_manifest.json").read_text())
    assert made.raw == manifest
    for name in ("rows_in", "rows_out", "dropped", "shards", "stages", "manifest", "inputs", "scorer"):
        assert getattr(made, name) == manifest[name]
    assert (made.rows_in, made.rows_out) == (5, 2)
    assert str(made).splitlines()[0] == "read 5"


def test_the_command_line_does_the_same(made: curate.RunResult, source: Path, tmp_path: Path) -> None:
    out = tmp_path / "shards"
    result = done("run", "laion", "--input", source, "--out", out, "--workers", 0)
    assert files(out) == files(Path(made.folder))
    assert result["dropped"] == made.dropped


def test_a_folder_is_made_anew_in_the_same_process(tmp_path: Path) -> None:
    """COCO's lists are joined into a file of the folder, which `overwrite` takes away."""
    made = [
        curate.run("coco", tmp_path / "out", preset=preset, workers=0, overwrite=True, progress=False)
        for preset in ("paper", "strict")
    ]
    assert made[0].rows_out == made[1].rows_out > 0
    assert "unreadable" not in made[1].dropped


def test_settings_are_the_same_by_value_and_by_assignment(source: Path, tmp_path: Path) -> None:
    changes = {"rules.image_too_small.min_side": 50, "rules.text_too_short": False, "seed": 7}
    first = curate.run("laion", tmp_path / "1", source, settings=changes, workers=0, progress=False)
    assignments = ("rules.image_too_small.min_side=50", "rules.text_too_short=false", "seed=7")
    words = [word for one in assignments for word in ("--set", one)]
    second = done("run", "laion", "--input", source, "--out", tmp_path / "2", "--workers", 0, *words)
    assert first.raw["manifest_digest"] == second["manifest_digest"]
    assert first.manifest["rules"]["image_too_small"] == {"min_side": 50}


def test_a_rule_that_a_setting_turns_on_again_keeps_the_order_of_the_settings() -> None:
    from curate.manifest.given_values import assignments
    from curate.manifest.load import load

    words = ["rules.text_too_short=false", "rules.text_too_short.min_chars=9"]
    assert load("laion", words).rules["text_too_short"] == {"min_chars": 9}
    assert load("laion", assignments(words)) == load("laion", words)
    assert load("laion", words[::-1]).rules["text_too_short"] is False


def test_what_is_given_as_settings_stays_the_callers(tmp_path: Path, source: Path) -> None:
    mine: dict[str, Any] = {"rules.text_too_short": {"min_chars": 3}}
    curate.run("laion", tmp_path / "1", source, settings=mine, dry_run=True, progress=False)
    assert mine == {"rules.text_too_short": {"min_chars": 3}}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"limit": "ten"}, "limit is 'ten'"),
        ({"limit": True}, "limit is True"),
        ({"sample": "half"}, "sample is 'half'"),
        ({"inputs": 5}, "inputs is 5"),
        ({"inputs": [5]}, "inputs is [5]"),
        ({"settings": ["rules.x=1"]}, "settings is ['rules.x=1']"),
        ({"settings": {3: 4}}, "settings is {3: 4}"),
        ({"settings": {"": 4}}, "setting '': write it as path.to.value"),
        ({"settings": {"name.x": 4}}, "setting 'name.x': 'name' is a value, not a table"),
        ({"settings": {"rules.image_too_smal.min_side": 4}}, "no rule 'image_too_smal' (did you mean"),
        ({"settings": {"rules.image_too_small.minside": 4}}, "has no setting 'minside' (it has: min_side)"),
        (
            {"settings": {"rules.image_too_small.min_side": "4"}},
            "setting 'min_side': it takes a whole number, not text ('4')",
        ),
        ({"settings": {"fetch.concurrncy": 4}}, "[fetch] has no key 'concurrncy' (did you mean"),
        ({"settings": {"fetch.concurrency": object()}}, "fetch.concurrency"),
        ({"workers": -1}, "workers must be at least 0"),
        ({"workers": 1.5}, "workers is 1.5"),
        ({"seed": "x"}, "seed is 'x'"),
        ({"settings": {"image.timeout_s": float("nan")}}, "image.timeout_s must be above 0"),
        ({"settings": {"documents.memory_bytes": -7}}, "documents.memory_bytes must be at least 64 MiB"),
        ({"overwrite": 1}, "overwrite is 1"),
    ],
)
def test_misuse_is_an_error_of_the_command_line(
    arguments: dict[str, Any], said: str, source: Path, tmp_path: Path
) -> None:
    with pytest.raises(curate.ManifestError) as error:
        curate.run(
            **{"manifest": "laion", "out": tmp_path / "out", "inputs": source, "progress": False} | arguments
        )
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    assert error.value.exit_code == 2
    assert not (tmp_path / "out").exists()


def test_the_words_of_an_error_are_the_command_lines(source: Path, tmp_path: Path) -> None:
    setting = "rules.image_too_small.minside"
    failed = command("run", "laion", "--input", source, "--out", tmp_path / "out", "--set", f"{setting}=4")
    with pytest.raises(curate.CurateError) as error:
        curate.run("laion", tmp_path / "out", source, settings={setting: 4})
    assert failed.stderr == f"curate: {error.value}\n"
    assert failed.returncode == error.value.exit_code


def test_an_unknown_manifest_and_a_missing_input_have_errors_of_their_kind(tmp_path: Path) -> None:
    with pytest.raises(curate.ManifestError, match="did you mean 'laion'"):
        curate.run("layon", tmp_path / "out")
    with pytest.raises(curate.InputError):
        curate.run("laion", tmp_path / "out", tmp_path / "nothing.parquet")
    with pytest.raises(curate.InputError):
        curate.report(tmp_path)


def test_a_dry_run_writes_nothing_and_tells_the_fate_of_the_first_rows(source: Path, tmp_path: Path) -> None:
    found = curate.run("laion", tmp_path / "out", source, dry_run=True, progress=False)
    assert isinstance(found, curate.PreviewResult)
    assert (found.rows, found.judged, found.alive) == (5, 5, 2)
    assert len(found.first_rows) == 5
    assert not (tmp_path / "out").exists()


def test_every_command_on_a_finished_folder_is_a_function(made: curate.RunResult, tmp_path: Path) -> None:
    kept = curate.explain(made.folder, "https://pictures.example/0.jpg")
    assert (kept.fate, kept.shard, kept.row) == ("kept", "shard-000000.parquet", 0)
    fell = curate.explain(made.folder, "https://pictures.example/2.jpg")
    assert (fell.fate, fell.reason) == ("dropped", "text_too_short")
    assert curate.explain(made.folder, "https://pictures.example/99.jpg").fate == "unknown"
    checked = curate.verify(made.folder)
    assert (checked.shards, checked.rows, checked.damaged) == (1, 2, {})
    assert "report.html" in curate.report(Path(made.folder)).wrote
    packs = curate.pack([made.folder], tmp_path / "packs")
    assert (packs.rows_in, packs.rows_out, packs.tasks["caption"]["samples"]) == (2, 2, 2)
    tars = curate.export(made.folder, to="webdataset", out=tmp_path / "tars")
    assert (tars.to, tars.rows_out) == ("webdataset", 2)
    assert (
        curate.retry(made.folder, "image_too_small", tmp_path / "again", workers=0, progress=False).rows_in
        == 1
    )


def test_damage_is_a_finding_and_no_exception(source: Path, tmp_path: Path) -> None:
    curate.run("laion", tmp_path / "out", source, workers=0, progress=False)
    shard = tmp_path / "out" / "shard-000000.parquet"
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    assert list(curate.verify(tmp_path / "out").damaged) == ["shard-000000.parquet"]
    assert curate.verify(tmp_path / "out", repair=True).repaired == ["shard-000000.parquet"]


def test_a_run_goes_while_a_loop_runs_and_in_any_thread(
    made: curate.RunResult, source: Path, tmp_path: Path
) -> None:
    async def in_a_notebook() -> curate.RunResult:
        return curate.run("laion", tmp_path / "1", source, workers=0, progress=False)

    assert asyncio.run(in_a_notebook()).shards == made.shards
    found: list[curate.RunResult] = []
    work = threading.Thread(
        target=lambda: found.append(curate.run("laion", tmp_path / "2", source, workers=0, progress=False))
    )
    work.start()
    work.join()
    assert found[0].shards == made.shards


def test_progress_goes_to_standard_error_or_nowhere(
    source: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    curate.run("laion", tmp_path / "out", source, workers=0, progress=False)
    assert capfd.readouterr() == ("", "")
    curate.run("laion", tmp_path / "out", source, workers=0)
    said = capfd.readouterr()
    assert said.out == ""
    assert "complete already: nothing to do" in said.err


def test_importing_curate_imports_nothing_costly_and_every_public_name_is_there() -> None:
    costly = ("pyarrow", "ray", "numpy", "PIL", "rich", "typer", "torch", "asyncio")
    code = f"import sys, curate; print([name for name in {costly} if name in sys.modules])"
    asked = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert asked.stdout.strip() == "[]", asked.stderr
    pytest.importorskip("torch")
    for name in curate.__all__:
        assert getattr(curate, name) is not None
    assert set(curate.__all__) <= set(dir(curate))
    with pytest.raises(AttributeError, match="no attribute 'runn'"):
        _ = curate.runn


def test_no_module_of_the_package_bears_the_name_of_a_public_function() -> None:
    modules = {path.stem for path in (ROOT / "curate").iterdir()}
    public = {name for name in curate.__all__ if callable(getattr(curate, name))}
    assert public >= {"run", "score", "pack", "export", "report", "retry", "explain", "verify"}
    assert modules & public == set()


def test_the_command_line_is_a_skin_over_the_functions() -> None:
    """What a command does is done by `curate.api`: the command line itself imports only what shows it."""
    files = [path for path in (ROOT / "curate" / "cli").glob("*.py") if path.stem not in ("doctor", "faults")]
    nodes = [node for path in files for node in ast.walk(ast.parse(path.read_text()))]
    imported = {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    shows = {"curate.engine.making", "curate.engine.progress", "curate.engine.preview", "curate.terminal"}
    reads = {
        "curate.children.no_pandas",
        "curate.manifest",
        "curate.manifest.load",
        "curate.manifest.toml",
        "curate.manifest.given_values",
        "curate.packing.recipe",
    }
    lines = {"curate.reporting", "curate.reporting.explain", "curate.verifying.command"}
    lines |= {"curate.reporting.trace", "curate.lineage.remove", "curate.lineage.diff", "curate.calibrating"}
    lines |= {"curate.fingerprinting", "curate.fingerprinting.held_out"}
    ours = {name for name in imported if name and name.startswith("curate.")}
    ours = {name for name in ours if not f"{name}.".startswith("curate.cli.")}
    assert ours <= shows | reads | lines | {"curate.api", "curate.errors", "curate.results", "curate.version"}


def test_the_types_go_with_the_package() -> None:
    assert (ROOT / "curate" / "py.typed").exists()


def test_an_argument_that_no_function_has_is_named_with_its_function() -> None:
    with pytest.raises(TypeError, match=r"curate\.run\(\) got an unexpected keyword argument 'output'$"):
        curate.run("laion", out="shards/", output=1)  # type: ignore[call-overload]
