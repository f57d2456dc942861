from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.errors import InputError
from curate.manifest.settings import InputSettings
from curate.sources import expand, open_source
from curate.storage.filesystems import filesystem


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    moto = pytest.importorskip("moto.server")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(s3: str, monkeypatch: pytest.MonkeyPatch) -> str:
    import boto3

    for name, value in {
        "AWS_ENDPOINT_URL": s3,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    boto3.client("s3").create_bucket(Bucket="inputs")
    return "s3://inputs"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_plain_path_and_a_file_uri_name_the_same_file(tmp_path: Path) -> None:
    path = tmp_path / "a b.csv"
    assert filesystem(str(path))[1] == str(path)
    assert filesystem("file://" + str(tmp_path) + "/a%20b.csv")[1] == str(path)


def test_an_unknown_scheme_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"ftp://.*(there are|did you mean)"):
        filesystem("ftp://example.org/a.csv")


def test_s3_objects_are_found_and_read_at_the_endpoint_that_the_environment_names(
    bucket: str, tmp_path: Path
) -> None:
    system, root = filesystem(f"{bucket}/part")
    for name, rows in (("a", [1, 2]), ("b", [3])):
        with system.open_output_stream(f"{root}/{name}.parquet") as file:
            pq.write_table(pa.table({"n": rows}), file)
    with system.open_output_stream(f"{root}/c.jsonl") as file:
        file.write(b'{"n":4}\n{"n":5}\n')
    found = expand([f"{bucket}/part"])
    assert [one.uri for one in found] == [
        f"{bucket}/part/{name}" for name in ("a.parquet", "b.parquet", "c.jsonl")
    ]
    assert [one.uri for one in expand([f"{bucket}/*/[ab].parquet"])] == [one.uri for one in found[:2]]
    sources = [open_source(one, InputSettings(), tmp_path) for one in found]
    values = [row["n"] for source in sources for b in source.batches(0, source.rows) for row in b.to_pylist()]
    assert values == [1, 2, 3, 4, 5]


def test_a_replaced_s3_object_has_another_fingerprint(bucket: str) -> None:
    import boto3

    client = boto3.client("s3")
    client.put_object(Bucket="inputs", Key="x.csv", Body=b"a,b\n1,2\n")
    before = expand([f"{bucket}/x.csv"])
    assert expand([f"{bucket}/x.csv"]) == before
    client.put_object(Bucket="inputs", Key="x.csv", Body=b"a,b\n1,2\n3,4\n")
    assert expand([f"{bucket}/x.csv"])[0].fingerprint != before[0].fingerprint


def test_a_bucket_that_is_not_there_is_one_line_of_advice(bucket: str) -> None:
    with pytest.raises(InputError, match="nowhere") as caught:
        expand(["s3://nowhere-to-be-found/part/*.parquet"])
    assert "\n" not in str(caught.value)


def test_files_are_read_over_http(site: str, tmp_path: Path) -> None:
    (tmp_path / "pairs.tsv").write_text("a cat\thttp://x/1\na dog\thttp://x/2\n")
    pq.write_table(pa.table({"n": [1, 2, 3]}), tmp_path / "n.parquet")
    settings = InputSettings(columns=("caption", "url"))
    text = open_source(expand([f"{site}/pairs.tsv"])[0], settings, tmp_path / "work")
    assert [row["caption"] for b in text.batches(0, 2) for row in b.to_pylist()] == ["a cat", "a dog"]
    table = open_source(expand([f"{site}/n.parquet"])[0], settings, tmp_path / "work")
    assert [row["n"] for b in table.batches(1, 3) for row in b.to_pylist()] == [2, 3]


def test_a_page_that_is_not_there_is_one_line_of_advice(site: str) -> None:
    with pytest.raises(InputError, match=r"gone\.parquet"):
        expand([f"{site}/gone.parquet"])
