"""Unfinished uploads of workers that were killed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from curate.storage.uploads import abort_unfinished
from tests.curate.runs import free_port

moto = pytest.importorskip("moto.server")


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """boto3's client of an S3 server on this machine, which has the bucket `uploads`."""
    import boto3

    port = free_port()
    server = moto.ThreadedMotoServer("127.0.0.1", port, verbose=False)
    server.start()
    endpoint = f"http://127.0.0.1:{port}"
    for name, value in (
        ("AWS_ENDPOINT_URL", endpoint),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "key"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
    ):
        monkeypatch.setenv(name, value)
    made = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
    made.create_bucket(Bucket="uploads")
    yield made
    server.stop()


def begun(client: Any) -> list[str]:
    return sorted(one["Key"] for one in client.list_multipart_uploads(Bucket="uploads").get("Uploads", ()))


def test_our_old_uploads_are_aborted_and_nobody_elses(client: Any) -> None:
    ours = ["out/shard-000001.parquet", "out/_dropped/dropped-000001.parquet", "out/pack-000000.parquet"]
    others = ["out/notes.txt", "out/sub/shard-1.parquet", "outside/shard-000001.parquet", "video.mp4"]
    for key in [*ours, *others]:  # moto says of each that it began in 2010
        client.create_multipart_upload(Bucket="uploads", Key=key)
    assert abort_unfinished("s3://uploads/out") == len(ours)
    assert begun(client) == sorted(others)
    assert abort_unfinished("s3://uploads/out") == 0


def test_a_young_upload_is_left_alone(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curate.storage.uploads.STALE", timedelta(days=365 * 100))
    client.create_multipart_upload(Bucket="uploads", Key="out/shard-000001.parquet")
    assert abort_unfinished("s3://uploads/out") == 0


def test_a_bucket_that_cannot_be_listed_stops_nothing(client: Any) -> None:
    assert abort_unfinished("s3://elsewhere/out") == 0


def test_a_folder_here_has_no_uploads() -> None:
    assert abort_unfinished("/tmp/out") == abort_unfinished("gs://bucket/out") == 0
