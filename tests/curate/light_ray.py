"""Ray without its two agents on each node, which are Python processes that cost a CPU second each and do nothing here.

Ray has no setting that leaves them out, and its raylet ends when they do. So it starts two processes that sleep, and
is told ports for them, or it would wait until they name some. Ray as curate starts it for users is tried by
tests/curate/test_cluster.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import import_module
from typing import Any

AGENTS = ("--dashboard_agent_command=", "--runtime_env_agent_command=")
PORTS = ("--metrics-agent-port=", "--metrics_export_port=", "--runtime_env_agent_port=")
ASLEEP, NOBODY = "sleep infinity", "1"  # the command, and a port at which nobody listens


@cache
def lighten() -> None:
    """Let every Ray that this process starts from now on, and that its forks start, do without agents."""
    services = import_module("ray._private.services")
    start = services.start_ray_process

    def light(command: Sequence[str], *arguments: Any, **options: Any) -> Any:
        if any(word.startswith(AGENTS) for word in command):
            command = [_replaced(word) for word in command] + [f"--dashboard_agent_listen_port={NOBODY}"]
        return start(command, *arguments, **options)

    services.start_ray_process = light


def _replaced(word: str) -> str:
    name = f"{word.partition('=')[0]}="
    if name in AGENTS:
        return name + ASLEEP
    return name + NOBODY if name in PORTS else word
