from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

import msgspec
import pytest

from curate.errors import Halted, OutputError
from curate.storage import lease as leases
from curate.storage.lease import LEASE, Holder, acquire, host
from curate.storage.objects import Objects, open_objects

moto = pytest.importorskip("moto.server")


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    address, port = server.get_host_and_port()
    yield f"http://{address}:{port}"
    server.stop()


@pytest.fixture
def objects(endpoint: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Objects:
    import boto3

    for name, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    for name, value in {"BEAT_S": 0.1, "TTL_S": 1.0, "LOOK_S": 0.1}.items():
        monkeypatch.setattr(leases, name, value)
    boto3.client("s3").create_bucket(Bucket="held")
    found = open_objects(f"s3://held/{request.node.name}")
    assert found is not None
    return found


def foreign(**changes: object) -> Holder:
    told = {"epoch": 4, "token": "t", "host": "elsewhere", "process": 1, "started": 0.0, "beat": 7}
    return Holder(**(told | changes))  # type: ignore[arg-type]


def test_a_second_driver_is_refused_while_the_first_one_lives(objects: Objects) -> None:
    first = acquire(objects, "s3://held/x")
    with pytest.raises(OutputError, match=r"another run .* is writing to s3://held/x"):
        acquire(objects, "s3://held/x")
    first.check()
    first.release()
    second = acquire(objects, "s3://held/x")
    assert second.epoch == first.epoch + 1
    second.release()


def test_a_lease_whose_holder_gives_no_sign_is_taken_over(objects: Objects) -> None:
    objects.create(LEASE, msgspec.json.encode(foreign()))
    taken = acquire(objects, "s3://held/x")
    assert taken.epoch == 5
    taken.release()


@pytest.mark.parametrize(
    "junk",
    [
        b"",
        b'{"x":' + b"[" * 100_000,
        msgspec.json.encode(foreign(epoch=2**60)),
        msgspec.json.encode(foreign(host="")),
        msgspec.json.encode(foreign(host=leases.host(), process=-(2**40))),
    ],
)
def test_junk_in_the_place_of_a_lease_is_taken_over(objects: Objects, junk: bytes) -> None:
    objects.create(LEASE, junk)
    acquire(objects, "s3://held/x").release()


def test_a_process_of_this_machine_that_has_ended_is_not_waited_for(
    objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "TTL_S", 600.0)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    objects.create(LEASE, msgspec.json.encode(foreign(host=host(), process=gone.pid)))
    acquire(objects, "s3://held/x").release()


def test_a_driver_whose_lease_was_taken_over_stops(objects: Objects) -> None:
    held = acquire(objects, "s3://held/x")
    objects.put(LEASE, msgspec.json.encode(foreign()))  # as a driver does that thinks this one dead
    time.sleep(1.5)  # longer than it may go without a heartbeat
    with pytest.raises(Halted, match="lost the lease on s3://held/x"):
        held.check()
    held.release()
    found = objects.get(LEASE)
    assert found is not None
    assert msgspec.json.decode(found[0], type=Holder) == foreign(), "it never writes over the other's lease"


class Careless:
    """A store that writes whatever the condition."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def create(self, name: str, data: bytes) -> dict[str, str]:
        self._objects.put(name, data)
        return {"e_tag": "any"}

    def get(self, name: str) -> object:
        return self._objects.get(name)


def test_a_store_that_ignores_conditions_is_refused_with_the_way_out(objects: Objects) -> None:
    with pytest.raises(OutputError, match=r"no conditional writes .*--no-lease"):
        acquire(Careless(objects), "s3://held/x")  # type: ignore[arg-type]


def test_an_upload_that_fails_leaves_nothing_behind(objects: Objects, endpoint: str) -> None:
    import boto3

    class Torn:
        """A file that cannot be read to its end."""

        def __init__(self) -> None:
            self._left = 2

        def seekable(self) -> bool:
            return True

        def seek(self, place: int, whence: int = 0) -> int:
            return 200 << 20 if whence == 2 else place

        def tell(self) -> int:
            return 0

        def read(self, size: int = -1) -> bytes:
            self._left -= 1
            if self._left < 0:
                raise OSError(5, "the disk is broken")
            return bytes(64 << 20)

    with pytest.raises(OSError, match="broken"):
        objects.put("shard-000000.parquet", Torn())  # type: ignore[arg-type]
    assert not objects.exists("shard-000000.parquet")
    assert "Uploads" not in boto3.client("s3").list_multipart_uploads(Bucket="held")
