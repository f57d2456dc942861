"""Ray without its two agents on each node, which are Python processes that cost a CPU second each and do nothing here.

Ray has no setting that leaves them out, and its raylet ends when they do. So it starts two processes that sleep, and
is told ports for them, or it would wait until they name some. Ray Train needs the agents, and a node that is killed
would leave the sleeping processes behind: tests of these start Ray as it is. Ray as curate starts it for users is tried
by tests/curate/test_cluster.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

AGENTS = ("--dashboard_agent_command=", "--runtime_env_agent_command=")
PORTS = ("--metrics-agent-port=", "--metrics_export_port=", "--runtime_env_agent_port=")
ASLEEP, NOBODY = "sleep 1800", "1"  # longer than any test takes; a port at which nobody listens


@contextmanager
def light() -> Iterator[None]:
    """Within this context, a Ray that this process or a fork of it starts does without agents."""
    services = import_module("ray._private.services")
    start = services.start_ray_process

    def lighter(command: Sequence[str], *arguments: Any, **options: Any) -> Any:
        if any(word.startswith(AGENTS) for word in command):
            command = [_replaced(word) for word in command] + [f"--dashboard_agent_listen_port={NOBODY}"]
        return start(command, *arguments, **options)

    services.start_ray_process = lighter
    try:
        yield
    finally:
        services.start_ray_process = start


def _replaced(word: str) -> str:
    name = f"{word.partition('=')[0]}="
    if name in AGENTS:
        return name + ASLEEP
    return name + NOBODY if name in PORTS else word
