"""Rules, cleaners and adapters of one's own."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import curate
from curate.adapters import ADAPTERS
from curate.errors import ManifestError, UnitError
from curate.manifest.load import load
from curate.manifest.toml import to_toml
from curate.origins import KINDS
from curate.plugins import TAKEN
from filters import CLEANERS, RULES
from tests.curate.runs import ROOT, done, dropped, files, pair, shards, write_pairs
from tests.curate.runs import curate as command

HEAD = "import pyarrow as pa\nimport pyarrow.compute as pc\nimport curate\n"
RULE = """
@curate.rule("text_speaks_of")
def text_speaks_of(text: pa.StringArray, *, word: str) -> pa.BooleanArray:
    return pc.invert(pc.match_substring(text, word))
"""
CLEANER = """
@curate.cleaner("loud")
def loud(text):
    return pc.utf8_upper(text)
"""
BY_PANDAS = """
import pandas as pd

@curate.cleaner("by_pandas")
def by_pandas(text):
    return pa.array(pd.Series(text.to_pylist()).str.upper(), pa.large_string())
"""
ADAPTER = """
@curate.adapter("headed", base="pairs")
def headed(rows):
    return rows.append_column("headline", pc.binary_join_element_wise("Seen: ", rows["TEXT"], ""))
"""
MANIFEST = """
name = "mine"
title = ""
licence = ""
homepage = ""
plugins = ["my_rules.py"]
[columns]
url = ["URL"]
text = ["TEXT"]
image = ["image"]
width = ["WIDTH"]
height = ["HEIGHT"]
clip_score = ["similarity"]
[shard]
rows = 2
"""
SPEAKS = '[rules.text_speaks_of]\nword = "number 3"\n'


def write(folder: Path, plugin: str, more: str = "", manifest: str = MANIFEST) -> Path:
    """A plug-in and a manifest that names it; the manifest's path."""
    folder.mkdir(exist_ok=True)
    (folder / "my_rules.py").write_text(plugin)
    (folder / "mine.toml").write_text(manifest + more)
    return folder / "mine.toml"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pairs(tmp_path_factory.mktemp("source") / "part.parquet", [pair(n) for n in range(6)])


def run(manifest: Path, source: Path, out: Path, workers: int = 0) -> curate.RunResult:
    return curate.run(manifest, out, source, workers=workers, progress=False)


def test_a_rule_a_cleaner_and_an_adapter_of_ones_own_work_together(source: Path, tmp_path: Path) -> None:
    changed = MANIFEST.replace('text = ["TEXT"]', 'text = ["headline"]').replace(
        'title = ""', 'title = ""\nadapter = "headed"\nclean = ["loud"]'
    )
    speaks = '[rules.text_speaks_of]\nword = "NUMBER 3"\n'
    manifest = write(tmp_path, HEAD + RULE + CLEANER + ADAPTER, speaks, changed)
    result = run(manifest, source, tmp_path / "out")
    assert result.dropped == {"text_speaks_of": 1}
    assert dropped(tmp_path / "out") == {"part.parquet#3": "text_speaks_of"}
    assert shards(tmp_path / "out")["text"][0].as_py() == "SEEN: A PHOTOGRAPH OF THE OLD HARBOUR, NUMBER 0"
    assert curate.verify(tmp_path / "out").damaged == {}
    told = curate.explain(tmp_path / "out", "https://pictures.example/3.jpg")
    assert (told.reason, told.detail) == (
        "text_speaks_of",
        "text=SEEN: A PHOTOGRAPH OF THE OLD HARBOUR, NUMBER 3",
    )
    kept = curate.explain(tmp_path / "out", "https://pictures.example/2.jpg")
    assert "text_speaks_of" in [step.get("rule") for step in kept.way]


def test_what_a_plug_in_prints_does_not_mix_with_the_result(source: Path, tmp_path: Path) -> None:
    loud = RULE.replace("    return", '    print("as a rule")\n    return')
    manifest = write(tmp_path, HEAD + 'print("as it loads")\n' + loud, SPEAKS)
    ended = command(
        "select", manifest, "--input", source, "--out", tmp_path / "out", "--workers", 0, "--json"
    )
    assert json.loads(ended.stdout)["rows_in"] == 6
    assert "as it loads" in ended.stderr
    assert "as a rule" in ended.stderr
    assert json.loads(command("show", manifest, "--json").stdout)["name"] == "mine"


def test_a_plug_in_may_use_pandas_whose_missing_texts_are_null(tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    changed = MANIFEST.replace('title = ""', 'title = ""\nclean = ["by_pandas"]')
    manifest = write(tmp_path, HEAD + BY_PANDAS, manifest=changed)
    source = write_pairs(tmp_path / "part.parquet", [pair(0), pair(1, TEXT=None)])
    done("run", manifest, "--input", source, "--out", tmp_path / "out", "--workers", 0)
    assert shards(tmp_path / "out")["text"].to_pylist() == ["A PHOTOGRAPH OF THE OLD HARBOUR, NUMBER 0"]


def test_a_plug_in_travels_to_ray_workers_by_its_content(source: Path, tmp_path: Path) -> None:
    """The bytes are those of a run in one process; the file is nowhere that a worker could find."""
    manifest = write(tmp_path / "here", HEAD + RULE, SPEAKS)
    first = run(manifest, source, tmp_path / "out")
    done("run", manifest, "--input", source, "--out", tmp_path / "ray", "--workers", 2)
    assert files(tmp_path / "ray") == files(tmp_path / "out")
    assert first.dropped == {"text_speaks_of": 1}


def test_a_pickled_manifest_takes_its_plug_ins_along(tmp_path: Path) -> None:
    data = pickle.dumps(load(str(write(tmp_path, HEAD + RULE, SPEAKS))))
    (tmp_path / "my_rules.py").unlink()
    code = (
        "import pickle, sys, pyarrow as pa, filters\n"
        "manifest = pickle.loads(sys.stdin.buffer.read())\n"
        "table = pa.table({'text': ['number 3', 'number 4']})\n"
        "print(filters.judge(table, manifest.active_rules()).reason.to_pylist())"
    )
    told = subprocess.run([sys.executable, "-c", code], input=data, capture_output=True, cwd=ROOT, timeout=60)
    assert told.stdout.decode().strip() == "['text_speaks_of', None]", told.stderr


def test_the_content_is_the_runs_identity_and_the_place_is_not(source: Path, tmp_path: Path) -> None:
    first = write(tmp_path / "1", HEAD + RULE, SPEAKS)
    run(first, source, tmp_path / "out")
    same = write(tmp_path / "2", HEAD + RULE, SPEAKS)
    assert load(str(same)).digest() == load(str(first)).digest()
    run(same, source, tmp_path / "out")
    other = write(tmp_path / "3", HEAD + RULE + "# changed\n", SPEAKS)
    with pytest.raises(curate.OutputError, match=r"plugins\[0\]\.sha256|rules\.text_speaks_of\.plugin"):
        run(other, source, tmp_path / "out")


def test_manifests_do_not_see_each_others_plug_ins(tmp_path: Path) -> None:
    rules, cleaners = dict(RULES), dict(CLEANERS)
    first = load(str(write(tmp_path / "1", HEAD + RULE, SPEAKS)))
    second = load(str(write(tmp_path / "2", HEAD + RULE.replace("pc.invert", ""), SPEAKS)))
    assert first.rules["text_speaks_of"] != second.rules["text_speaks_of"]  # each names its own plug-in
    with pytest.raises(ManifestError, match="no rule 'text_speaks_of'"):
        load("laion", {"rules.text_speaks_of.word": "sea"})
    assert (dict(RULES), dict(CLEANERS)) == (rules, cleaners)


def test_the_command_line_may_bring_one_along(source: Path, tmp_path: Path) -> None:
    write(tmp_path, HEAD + RULE)
    words = ("--set", 'plugins=["my_rules.py"]', "--set", "rules.text_speaks_of.word=number 3")
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    result = done(
        "run",
        "laion",
        "--input",
        source,
        "--out",
        "out",
        "--workers",
        0,
        *words,
        cwd=tmp_path,
        env=environment,
    )
    assert result["dropped"] == {"text_speaks_of": 1}


def test_a_manifest_with_a_plug_in_as_shown_is_the_manifest(tmp_path: Path) -> None:
    loaded = load(str(write(tmp_path, HEAD + RULE, SPEAKS)))
    (tmp_path / "shown.toml").write_text(to_toml(loaded))
    assert load(str(tmp_path / "shown.toml")) == loaded
    (tmp_path / "my_rules.py").write_text(HEAD + RULE + "# changed")
    with pytest.raises(ManifestError, match=r"plug-in my_rules\.py is another here"):
        load(str(tmp_path / "shown.toml"))


def test_one_that_raises_costs_its_unit_and_is_named_with_its_line(source: Path, tmp_path: Path) -> None:
    plugin = HEAD + (
        '@curate.rule("text_is_odd")\n'
        "def text_is_odd(text: pa.StringArray) -> pa.BooleanArray:\n"
        "    if pc.any(pc.match_substring(text, 'number 3')).as_py():\n"
        "        return {}['three']\n"
        "    return pc.is_valid(text)\n"
    )
    manifest = write(tmp_path, plugin, "[rules.text_is_odd]\n")
    failed = command("run", manifest, "--input", source, "--out", tmp_path / "out", "--workers", 0)
    assert failed.returncode == 1
    last = failed.stderr.splitlines()[-1]
    assert "1 of 3 units failed" in last
    assert "rule 'text_is_odd' of my_rules.py failed: KeyError: 'three' (my_rules.py, line 7)" in last
    assert "Traceback" not in failed.stderr
    assert len(list((tmp_path / "out").glob("shard-*.parquet"))) == 2  # the other units are done


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("    return pa.array([True])\n", "it must give 2 booleans, not 1 of bool"),
        ("    return pc.utf8_length(text)\n", "it must give 2 booleans, not 2 of int64"),
        ("    return None\n", "it must give 2 booleans, not NoneType"),
    ],
)
def test_an_answer_of_another_form_is_an_error_too(
    body: str, said: str, source: Path, tmp_path: Path
) -> None:
    """It behaves while there are no texts, so that nothing shows before the run."""
    function = (
        '@curate.rule("text_is_odd")\n'
        "def text_is_odd(text: pa.StringArray) -> pa.BooleanArray:\n"
        "    if text.null_count == len(text):\n        return pc.is_valid(text)\n"
    )
    manifest = write(tmp_path, HEAD + function + body, "[rules.text_is_odd]\n")
    with pytest.raises(UnitError, match=said):
        run(manifest, source, tmp_path / "out")


LATE = "def f(text: pa.StringArray) -> pa.BooleanArray:\n    return pc.is_valid(text)\n"
BAD = [
    ("import nothing_of_the_kind\n", "does not import: ModuleNotFoundError: No module named 'nothing_of_the_kind'"),
    ("def broken(:\n", "does not import: SyntaxError: invalid syntax (my_rules.py, line 1)"),
    ("x = 1\nraise RuntimeError('no\\nway')\n", "RuntimeError: no way (my_rules.py, line 2)"),
    ("import sys\nsys.exit(3)\n", "does not import: SystemExit: 3"),
    ("\0", "does not import: "),
    (HEAD + RULE * 2, "rule 'text_speaks_of' is there already, from my_rules.py"),
    (HEAD + '@curate.rule("image_too_small")\n' + LATE, "rule 'image_too_small' is there already, built in"),
    (HEAD + '@curate.cleaner("html")\ndef f(text): return text\n', "cleaner 'html' is there already, built in"),
    (HEAD + '@curate.adapter("pairs")\ndef f(rows): return rows\n', "adapter 'pairs' is there already, built in"),
    (HEAD + '@curate.adapter("pdf")\ndef f(rows): return rows\n', "adapter 'pdf' is there already, built in"),
    (HEAD + '@curate.adapter("mine", base="pears")\ndef f(rows): return rows\n', "(did you mean 'pairs'?)"),
    (HEAD + '@curate.rule("Text Odd")\n' + LATE, "'Text Odd' is no name"),
    (HEAD + '@curate.rule("odd")\ndef f(texts): return texts\n', "no such column as 'texts' (did you mean 'text'?)"),
    (HEAD + '@curate.rule("odd")\ndef f(image): return image\n', "reads no such column as 'image'"),
    (HEAD + '@curate.rule("odd")\ndef f(*, a: int = 1): return a\n', "reads no column"),
    (HEAD + '@curate.rule("odd")\ndef f(text, *, word): return text\n', "setting 'word' has no type"),
    (HEAD + '@curate.rule("odd")\ndef f(text, *, plugin: str): return text\n', "no setting may be called 'plugin'"),
    (HEAD + '@curate.rule("odd")\ndef f(text, *more): return text\n', "'more' is neither a column nor a setting"),
    (HEAD + '@curate.cleaner("odd")\ndef f(text, url): return text\n', "must take one positional parameter"),
    (HEAD + '@curate.rule("odd")\nclass F: pass\n', "is no function"),
    (HEAD + "@curate.rule\n" + LATE, "f: write @curate.rule(NAME), with the name of the rule"),
    (HEAD + "@curate.cleaner\ndef f(text): return text\n", "f: write @curate.cleaner(NAME)"),
    (HEAD + "@curate.adapter\ndef f(rows): return rows\n", "f: write @curate.adapter(NAME)"),
]  # fmt: skip


@pytest.mark.parametrize(("plugin", "said"), BAD)
def test_a_plug_in_that_is_not_in_order_is_one_line_and_writes_nothing(
    plugin: str, said: str, source: Path, tmp_path: Path
) -> None:
    manifest = write(tmp_path, plugin)
    with pytest.raises(ManifestError) as error:
        run(manifest, source, tmp_path / "out")
    assert said in str(error.value)
    assert "plug-in my_rules.py" in str(error.value) or "my_rules.py" in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("rule", "settings", "said"),
    [
        (RULE, "", "needs the setting 'word'"),
        (RULE, "word = 3\n", "setting 'word': it takes text, not a whole number (3)"),
        (RULE, 'word = "x"\nwords = 1\n', "has no setting 'words' (it has: word)"),
        (RULE, f'word = "x"\nplugin = "{"0" * 64}"\n', "is of another plug-in here"),
        (RULE.replace("pc.invert(", "pc.is_null("), 'word = "x"\n', "keeps rows where text is null"),
        (RULE.replace("    return", "    return {}[0] or"), 'word = "x"\n', "fails without any row: KeyError: 0"),
        (RULE.replace("    return", "    exit(0)\n    return"), 'word = "x"\n', "fails without any row: SystemExit: 0"),
        (RULE.replace("    return", "    raise ValueError('no word')\n    return"), 'word = ""\n', "no word"),
    ],
)  # fmt: skip
def test_the_settings_of_a_rule_are_held_to_their_types(
    rule: str, settings: str, said: str, tmp_path: Path
) -> None:
    manifest = write(tmp_path, HEAD + rule, f"[rules.text_speaks_of]\n{settings}")
    with pytest.raises(ManifestError) as error:
        load(str(manifest))
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("plugins", "said"),
    [
        ('["nothing.py"]', "cannot read plug-in nothing.py: No such file or directory"),
        ('["my_rules.py", "my_rules.py"]', "plug-in 'my_rules.py' is named twice"),
        ('["my_rules.py", "same.py"]', "rule 'text_speaks_of' is there already, from my_rules.py"),
        ('["no-such-package"]', "no plug-in 'no-such-package' is installed"),
        ('"my_rules.py"', "plugins"),
        ("[3]", "plugins"),
        ('["."]', "no plug-in '.' is installed"),
    ],
)
def test_a_plug_in_that_is_not_there_is_one_line(
    plugins: str, said: str, source: Path, tmp_path: Path
) -> None:
    manifest = write(tmp_path, HEAD + RULE, manifest=MANIFEST.replace('["my_rules.py"]', plugins))
    (tmp_path / "same.py").write_text(HEAD + RULE + "# but for this")
    with pytest.raises(ManifestError) as error:
        run(manifest, source, tmp_path / "out")
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_the_command_line_says_it_in_one_line_with_exit_2(source: Path, tmp_path: Path) -> None:
    manifest = write(tmp_path, "raise RuntimeError('no\\nway')\n")
    failed = command("run", manifest, "--input", source, "--out", tmp_path / "out", "--workers", 0)
    assert (failed.returncode, failed.stderr.count("\n")) == (2, 1), failed.stderr
    assert "plug-in my_rules.py does not import: RuntimeError: no way (my_rules.py, line 1)" in failed.stderr
    assert not (tmp_path / "out").exists()


def test_an_adapter_that_fails_is_found_before_anything_is_written(source: Path, tmp_path: Path) -> None:
    changed = MANIFEST.replace('title = ""', 'title = ""\nadapter = "headed"')
    for body, said in (
        ("rows['nothing']", "KeyError"),
        ("rows.slice(1)['TEXT']", "it must give a table of 0 rows"),
    ):
        plugin = HEAD + f"@curate.adapter('headed')\ndef headed(rows):\n    return {body}\n"
        with pytest.raises(ManifestError, match=said):
            run(write(tmp_path, plugin, manifest=changed), source, tmp_path / "out")
        assert not (tmp_path / "out").exists()


READER = """
import sys, curate
out, again, plugin = sys.argv[1:]
assert curate.verify(out).damaged == {}
assert curate.explain(out, "https://pictures.example/3.jpg").reason == "text_speaks_of"
curate.report(out)
try:
    curate.retry(out, "text_speaks_of", again, workers=0, progress=False)
except curate.ManifestError as error:
    assert "the run used the plug-in my_rules.py" in str(error), error
else:
    raise AssertionError("it ran")
assert not any(name.startswith("curate_plugin") for name in sys.modules)
tried = curate.retry(out, "text_speaks_of", again, plugins=plugin, workers=0, progress=False)
assert tried.dropped == {"text_speaks_of": 1}
"""


def test_no_folder_makes_its_reader_run_code(source: Path, tmp_path: Path) -> None:
    """A finished run names its plug-ins and holds none of their code; who wants to go on gives the file."""
    manifest = write(tmp_path, HEAD + RULE, SPEAKS)
    out = tmp_path / "out"
    run(manifest, source, out)
    assert "match_substring" not in (out / "_manifest.json").read_text()
    reader = [sys.executable, "-c", READER, str(out), str(tmp_path / "again"), str(tmp_path / "my_rules.py")]
    told = subprocess.run(reader, capture_output=True, text=True, cwd=ROOT, timeout=200, check=False)
    assert told.returncode == 0, told.stderr


def test_a_repair_is_given_the_plug_in(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(write(tmp_path, HEAD + RULE, SPEAKS), source, out)
    shard = out / "shard-000001.parquet"
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    mended = command("verify", out, "--repair", "--plugin", tmp_path / "my_rules.py", "--json")
    assert json.loads(mended.stdout)["repaired"] == ["shard-000001.parquet"], mended.stderr


PACKAGE = {
    "acme/__init__.py": "",
    "acme/words.py": "WORD = 'number 3'\n",
    "acme/rules.py": HEAD + "from acme.words import WORD\n"
    "@curate.rule('text_names_acme')\n"
    "def f(text: pa.StringArray) -> pa.BooleanArray:\n    return pc.invert(pc.match_substring(text, WORD))\n",
    "acme-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n",
    "acme-1.0.dist-info/entry_points.txt": "[curate.plugins]\nacme = acme.rules\n",
}


@pytest.mark.parametrize("plugins", ['["acme"]', "[]"])
def test_an_installed_package_is_named_or_found_by_what_it_brings(
    plugins: str, source: Path, tmp_path: Path
) -> None:
    site = tmp_path / "site"
    for name, text in PACKAGE.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text(text)
    changed = MANIFEST.replace('["my_rules.py"]', plugins)
    manifest = write(tmp_path, "", "[rules.text_names_acme]\n", changed)
    environment = {"PYTHONPATH": f"{ROOT}:{site}", "PATH": "/usr/bin:/bin"}
    arguments = ("run", manifest, "--input", source, "--workers", 0)
    result = done(*arguments, "--out", tmp_path / "out", env=environment)
    assert result["dropped"] == {"text_names_acme": 1}
    assert result["manifest"]["plugins"][0]["name"] == "acme"
    (site / "acme" / "words.py").write_text("WORD = 'number 4'\n")  # any file of the package counts
    refused = command(*arguments, "--out", tmp_path / "out", env=environment)
    assert refused.returncode == 2
    assert "is of another run" in refused.stderr
    absent = command(*arguments, "--out", tmp_path / "none")
    assert (absent.returncode, absent.stderr.count("\n")) == (2, 1), absent.stderr


def test_the_names_of_built_in_adapters_are_all_taken(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of renderers that came later too, without a list to add them to."""
    assert {*ADAPTERS} <= set(TAKEN) <= {*ADAPTERS, *KINDS}
    monkeypatch.setattr("curate.origins.KINDS", {**KINDS, "headed": "curate.origins.pages"})
    changed = MANIFEST.replace('title = ""', 'title = ""\nadapter = "headed"')
    with pytest.raises(ManifestError, match="adapter 'headed' is there already, built in"):
        run(write(tmp_path, HEAD + ADAPTER, manifest=changed), source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_decorators_leave_functions_as_they_are() -> None:
    """So a plug-in's own tests import it and call them."""

    def keep(text: str) -> str:
        return text

    assert curate.rule("text_any")(keep) is keep
    assert curate.cleaner("any")(keep) is keep
    assert curate.adapter("any")(keep) is keep
    assert "text_any" not in RULES
