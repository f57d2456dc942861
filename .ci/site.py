"""A hook of mkdocs: the pages that lie beside docs/ become pages of the site, and links to them stay right."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parent.parent
PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "CONTRIBUTING.md", "CHANGELOG.md": "CHANGELOG.md"}


def on_files(files: Any, config: Any) -> Any:
    """Add the pages, whose links are from the top of the repository."""
    for name, to in PAGES.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        content = re.sub(r"\]\(docs/", "](", text)
        files.append(File.generated(config, to, content=content))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Let links from docs/ to the top of the repository find these pages."""
    return re.sub(r"\]\(\.\./(CONTRIBUTING|CHANGELOG)\.md", r"](\1.md", markdown)
