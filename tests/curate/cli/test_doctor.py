"""What `curate doctor` says of a machine on which something is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from curate.cli import doctor


def found(what: str, group: Any) -> dict[str, Any]:
    return next(check._asdict() for check in group() if check.what == what)


def program(folder: Path, body: str) -> None:
    path = folder / "bwrap"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def test_a_machine_without_bubblewrap_is_not_ready(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    check = found("bubblewrap", doctor._wall)
    assert (check["ready"], check["found"]) == (False, "not found")
    assert "apt-get install bubblewrap" in check["mend"]


def test_a_bubblewrap_that_may_not_be_used_is_not_ready(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    program(tmp_path, "echo 'bwrap: No permissions to create a new namespace' >&2; exit 1")
    check = found("bubblewrap", doctor._wall)
    assert (check["ready"], check["found"]) == (False, "bwrap: No permissions to create a new namespace")
    program(tmp_path, "exit 0")
    assert found("bubblewrap", doctor._wall)["ready"]


def test_a_torchvision_of_another_build_than_torchs_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("torch")
    package = tmp_path / "torchvision" / "__init__.py"
    package.parent.mkdir()
    package.write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    check = found("torchvision", doctor._torchvision)
    said = "cannot be imported: RuntimeError: operator torchvision::nms does not exist"
    assert (check["ready"], check["found"]) == (False, said)
    assert "uninstall it" in check["mend"]
    package.write_text("")
    assert found("torchvision", doctor._torchvision)["ready"]


@pytest.mark.parametrize(
    ("given", "ready", "said"),
    [
        ({}, True, "names none"),
        ({"RAY_ADDRESS": "head:6379"}, False, "RAY_AUTH_MODE=disabled, no token here"),
        ({"RAY_ADDRESS": "head:6379", "RAY_AUTH_MODE": "token"}, False, "no token here"),
        ({"RAY_ADDRESS": "head:6379", "RAY_AUTH_TOKEN": "x"}, False, "RAY_AUTH_MODE=disabled"),
        ({"RAY_ADDRESS": "head:6379", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "x"}, True, "=token"),
    ],
)
def test_a_cluster_that_asks_for_no_token_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, given: dict[str, str], ready: bool, said: str
) -> None:
    for name in ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    check = found("Ray cluster", doctor._cluster)
    assert check["ready"] is ready
    assert said in check["found"]
