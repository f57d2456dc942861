"""Writes resolved manifests as TOML, as `curate show` prints them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from curate.manifest.settings import Manifest


def to_toml(manifest: Manifest) -> str:
    """Return the resolved manifest as TOML; `load` reads an equal manifest from it."""
    lines: list[str] = []
    _write_table(manifest.resolved(), "", lines)
    return "\n".join(lines)


def _write_table(table: Mapping[str, Any], path: str, lines: list[str]) -> None:
    tables = {name: value for name, value in table.items() if isinstance(value, dict)}
    for name, value in table.items():
        if value is not None and name not in tables:
            lines.append(f"{_toml_key(name)} = {_toml_value(value)}")
    for name, value in tables.items():
        below = f"{path}.{_toml_key(name)}".removeprefix(".")
        lines += ["", f"[{below}]"]
        _write_table(value, below, lines)


def _toml_value(value: Any) -> str:
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{_toml_key(name)} = {_toml_value(of)}' for name, of in value.items())} }}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml_value, value))}]"
    return json.dumps(value, ensure_ascii=False)


def _toml_key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name)
