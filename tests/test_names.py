"""One name, one thing: class names and module names over the whole tree."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parent.parent
TREES = ("curate", "filters", "renderers", "synthdog")

# Names that several modules share, each because it stands for the same thing in every room.
SHARED_MODULES = {
    "__init__": "the package itself",
    "command": "what one command does, from beginning to end: `run`, `score`, `verify`",
    "errors": "what can go wrong: of curate, and of the leaf synthdog, which cannot import curate's",
    "journal": "the record of what is done, for going on after a kill: of a run, of a scoring",
    "render": "from a document to page images: PDF, web page; and in `tasks`, from a sample to its strings",
    "runners": "who does the jobs, this process or Ray: of a run, of a scoring",
    "schema": "the columns that a package gives: curate's, and the renderers'",
    "settings": "the settings of a package, checked",
}
SHARED_CLASSES: dict[str, str] = {}


def modules() -> list[Path]:
    return [path for tree in TREES for path in sorted((ROOT / tree).rglob("*.py"))]


def repeated(found: dict[str, list[str]], shared: dict[str, str]) -> dict[str, list[str]]:
    return {name: places for name, places in found.items() if len(places) > 1 and name not in shared}


def test_no_class_name_stands_for_two_things() -> None:
    found = defaultdict(list)
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                found[node.name.lstrip("_")].append(path.relative_to(ROOT).as_posix())
    assert repeated(found, SHARED_CLASSES) == {}


def test_no_module_name_stands_for_two_things() -> None:
    found = defaultdict(list)
    for path in modules():
        found[path.stem].append(path.relative_to(ROOT).as_posix())
    assert repeated(found, SHARED_MODULES) == {}


def test_every_shared_name_is_still_shared() -> None:
    stems = [path.stem for path in modules()]
    assert [name for name in SHARED_MODULES if stems.count(name) < 2] == []


def test_the_top_of_curate_has_at_most_ten_modules() -> None:
    assert len(list((ROOT / "curate").glob("*.py"))) <= 10
