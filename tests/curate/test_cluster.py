"""A Ray that is started here: nobody but this user on this machine can reach it, and nothing of it stays."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from curate import cluster
from curate.errors import MachineError

PROGRAM = """
import json, os, psutil, signal, stat
import ray  # the harder case: it has read its environment already
from curate.cluster import start

signals = []
signal.signal(signal.SIGTERM, lambda *_: signals.append("ours"))
ray = start(1, None)
os.kill(os.getpid(), signal.SIGTERM)  # Ray's handler would end this process with exit code 1
ray.get(ray.remote(lambda: 1).remote())
family = psutil.Process().children(recursive=True)
listening = set()
for one in [psutil.Process(), *family]:
    for connection in one.net_connections(kind="inet"):
        if connection.status == psutil.CONN_LISTEN:
            listening.add((one.name(), *connection.laddr))
folder = ray._private.worker._global_node.get_session_dir_path()
private = folder
while not os.path.basename(private).startswith("curate-ray-"):
    private = os.path.dirname(private)
print(json.dumps({
    "listening": sorted(listening), "private": private, "mode": stat.S_IMODE(os.stat(private).st_mode),
    "auth": os.environ["RAY_AUTH_MODE"], "ray": [" ".join(one.cmdline()) for one in family],
    "signals": signals,
}))
"""


def test_a_ray_of_our_own_listens_on_loopback_only_in_a_private_folder_that_goes(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout.splitlines()[-1])
    assert found["listening"], "nothing was looked at"
    assert [one for one in found["listening"] if one[1] not in ("127.0.0.1", "::1", "::ffff:127.0.0.1")] == []
    assert found["mode"] == 0o700
    assert found["signals"] == ["ours"]
    assert found["auth"] == "token"
    assert any("raylet" in one for one in found["ray"])
    unused = ("dashboard/dashboard.py", "monitor.py")  # each costs a second at the start
    assert [one for one in found["ray"] if any(program in one for program in unused)] == []
    assert not Path(found["private"]).exists()


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("127.0.0.1:1", "refused"),
        ("ray://[::1]:1", "refused|assign"),
        ("no-such-host.invalid:6379", "name"),
        ("..:5", "idna"),
    ],
)
def test_an_address_where_nothing_answers_is_said_and_not_waited_for_without_end(
    address: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "ANSWER_S", 0.0)
    with pytest.raises(MachineError, match=rf"(?i)no Ray cluster answers at .*: .*({why})"):
        cluster.start(None, address)
