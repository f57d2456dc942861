"""Renderers of documents by their table: how they are run, and whose fault it is when one cannot."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from curate import origins
from curate.errors import MachineError
from curate.manifest.document_renderers import Renderer
from curate.manifest.load import parse
from curate.manifest.settings import Manifest
from curate.origins import Origin, find, open_origin
from tests.curate.runs import ROOT, curate

DOCUMENT = "# Tides\n\nThe sea rises *twice* a day, and falls as often.\n\n- spring tides\n- neap tides\n"
MARKDOWN = Renderer(
    "tests.curate.origins.markdown_pages",
    "MarkdownSettings",
    "html",
    (".md",),
    ("text/markdown",),
    memory_by="pss",
)


@pytest.fixture
def manifest(monkeypatch: pytest.MonkeyPatch) -> Manifest:
    """A data set of Markdown, as a new line in the two tables makes it."""
    monkeypatch.setattr(origins, "RENDERERS", {**origins.RENDERERS, "markdown": MARKDOWN})
    monkeypatch.setattr("curate.origins.pages.RENDERERS", origins.RENDERERS)
    monkeypatch.setattr(origins, "KINDS", {**origins.KINDS, "markdown": "curate.origins.pages"})
    monkeypatch.syspath_prepend(str(ROOT))
    about = {"name": "notes", "title": "", "licence": "", "homepage": "", "adapter": "markdown"}
    return parse(about | {"task": "ocr", "documents": {"page_timeout_s": 100.0}}, "notes")


@pytest.fixture
def browser() -> None:
    render = pytest.importorskip("renderers.html.render")
    try:
        render.check_machine(render.HtmlSettings())
    except render.NotReadyError as problem:
        pytest.skip(str(problem))


@pytest.fixture
def broken_browser(browser: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A Chromium that is there, for its unprivileged user too, and never comes up."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        program = Path(folder) / "chromium"
        program.write_text("#!/bin/sh\nexit 1\n")
        program.chmod(0o755)
        monkeypatch.setenv("CURATE_CHROMIUM", str(program))
        yield


def opened(manifest: Manifest, documents: dict[str, str], folder: Path) -> Iterator[Origin]:
    (folder / "documents").mkdir()
    for name, text in documents.items():
        (folder / "documents" / name).write_text(text)
    (found,) = find(manifest, [str(folder / "documents")])
    origin = open_origin(found, manifest, folder)
    yield origin
    origin.close()


def test_a_renderer_on_the_html_renderer_needs_no_more_than_a_module_and_a_line(
    manifest: Manifest, browser: None, tmp_path: Path
) -> None:
    for origin in opened(manifest, {"tides.md": DOCUMENT}, tmp_path):
        (page,) = (row for table in origin.read(0, 1) for row in table.to_pylist())
    assert page["dropped"] is None, page["detail"]
    assert page["text"].splitlines() == [
        "Tides",
        "The sea rises twice a day, and falls as often.",
        "• spring tides",
        "• neap tides",
    ]
    assert [region["text"] for region in page["regions"]] == page["text"].splitlines()


def test_a_browser_that_cannot_start_in_a_child_is_the_machines_fault(
    manifest: Manifest, broken_browser: None, tmp_path: Path
) -> None:
    for origin in opened(manifest, {"tides.md": DOCUMENT}, tmp_path):
        with pytest.raises(MachineError, match="chromium does not start: run it by hand"):
            list(origin.read(0, 1))


def test_a_browser_that_cannot_start_ends_a_run_on_web_pages_with_exit_3(
    broken_browser: None, tmp_path: Path
) -> None:
    failed = curate("run", "html", "--out", tmp_path / "pages", "--workers", "0")
    assert failed.returncode == 3
    assert "chromium does not start: run it by hand" in failed.stderr
    assert not list((tmp_path / "pages").glob("*.parquet"))


def test_every_renderer_is_there_as_its_table_says() -> None:
    for renderer in origins.RENDERERS.values():
        pytest.importorskip(renderer.module)
        assert hasattr(sys.modules[renderer.module], renderer.settings)
