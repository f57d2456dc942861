"""Turn a URI into a file system and a path on it.

pyarrow serves local paths, `s3://`, `gs://` and `az://`; fsspec serves `hf://` and `http(s)://`. Every wait has a
limit. S3 reads the usual variables: AWS_ENDPOINT_URL (also AWS_ENDPOINT_URL_S3), AWS_REGION or
AWS_DEFAULT_REGION, the credentials, and AWS_NO_SIGN_REQUEST for public buckets. Google's buckets are opened
with the application's default credentials, or without any where GS_NO_SIGN_REQUEST says so or
CLOUD_STORAGE_EMULATOR_ENDPOINT names an emulator. Azure reads AZURE_STORAGE_ACCOUNT_NAME, and AZURE_STORAGE_ACCOUNT_KEY
or AZURE_STORAGE_SAS_TOKEN (else the machine's identity), and AZURE_STORAGE_ENDPOINT for another endpoint.
"""

from __future__ import annotations

import datetime
import functools
import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec
import pyarrow as pa
from pyarrow import fs

from curate.errors import InputError, MachineError, nearest
from curate.storage.stores import StoreClient, WebClient

CONNECT_TIMEOUT_S = 20.0
REQUEST_TIMEOUT_S = 60.0
# The errors of decoding bytes that are not the JSON asked for, not UTF-8, or nested too deep
NOT_JSON = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


def scheme(uri: str) -> str:
    """The URI's scheme in lower case; `file` for a plain path."""
    found = SCHEME.match(uri)
    return found.group(1).lower() if found else "file"


def filesystem(uri: str) -> tuple[fs.FileSystem, str]:
    """The file system that holds `uri`, and the path of `uri` on it.

    Raises:
        InputError: `uri` is empty, holds a null character or is not UTF-8, or its scheme is not known.
        MachineError: the library or the credentials that the scheme needs are missing.
    """
    if not uri.strip():
        raise InputError("an empty path names no file or folder (is a variable of the shell not set?)")
    if "\0" in uri:
        raise InputError(f"cannot use {uri!r}: no name holds a null character")
    if not uri.isascii() and any("\ud800" <= c <= "\udfff" for c in uri):
        raise InputError(f"cannot use {uri!r}: the name is not UTF-8; rename it")
    kind = scheme(uri)
    if kind not in _OPENERS:
        raise InputError(f"cannot read {uri!r}: no storage for {kind}://{nearest(kind, _OPENERS)}")
    try:
        return _OPENERS[kind](uri)
    except (ImportError, OSError, pa.ArrowInvalid) as error:
        raise MachineError(f"cannot use {kind}:// for {uri!r}: {one_line(error)}") from None


OF_ARROW = re.compile(
    r"\[Errno \d+\] Failed to open local file '(?P<path>[^']*)'\. Detail: \[errno \d+\] (?P<why>[^\[\]]*)"
)


def one_line(error: BaseException) -> str:
    """An error's message on one line of at most 300 characters; Arrow's messages are shortened to reason and path."""
    said = " ".join(str(error).split())
    if found := OF_ARROW.fullmatch(said):
        said = f"{found['why']}: {found['path']}"
    return said[:300] or type(error).__name__


def _local(uri: str) -> tuple[fs.FileSystem, str]:
    path = unquote(urlsplit(uri).path) if SCHEME.match(uri) else uri
    return fs.LocalFileSystem(), str(Path(path).expanduser().absolute())


def _s3(uri: str) -> tuple[fs.FileSystem, str]:
    path = SCHEME.sub("", uri, count=1)
    endpoint, region = s3_place(uri)
    return _s3_filesystem(endpoint, region, is_set("AWS_NO_SIGN_REQUEST")), path


def s3_place(uri: str) -> tuple[str | None, str]:
    """The endpoint for S3 that the environment names (None: Amazon's), and the region of the URI's bucket."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if region is None:
        bucket = SCHEME.sub("", uri, count=1).partition("/")[0]
        region = "us-east-1" if endpoint else _region(bucket)
    return endpoint, region


@functools.lru_cache(maxsize=16)
def _region(bucket: str) -> str:
    region: str = fs.resolve_s3_region(bucket)
    return region


def is_set(variable: str) -> bool:
    """Whether an environment variable is set to `1`, `true` or `yes`."""
    return os.environ.get(variable, "").lower() in ("1", "true", "yes")


@functools.lru_cache(maxsize=16)
def _s3_filesystem(endpoint: str | None, region: str, unsigned: bool) -> fs.FileSystem:
    options: dict[str, Any] = {"anonymous": True} if unsigned else {}
    if endpoint:
        parts = urlsplit(endpoint)
        options |= {"scheme": parts.scheme or "https", "endpoint_override": parts.netloc or endpoint}
    return fs.S3FileSystem(
        region=region,
        connect_timeout=CONNECT_TIMEOUT_S,
        request_timeout=REQUEST_TIMEOUT_S,
        **options,
    )


def _gs(uri: str) -> tuple[fs.FileSystem, str]:
    unsigned = is_set("GS_NO_SIGN_REQUEST") or "CLOUD_STORAGE_EMULATOR_ENDPOINT" in os.environ
    return _gs_filesystem(unsigned), SCHEME.sub("", uri, count=1)


@functools.lru_cache(maxsize=2)
def _gs_filesystem(unsigned: bool) -> fs.FileSystem:
    limit = datetime.timedelta(seconds=REQUEST_TIMEOUT_S)
    return fs.GcsFileSystem(anonymous=unsigned, retry_time_limit=limit)


def _az(uri: str) -> tuple[fs.FileSystem, str]:
    return _az_filesystem(*azure_place()), SCHEME.sub("", uri, count=1)


def azure_place() -> tuple[str, str, str, str]:
    """Azure's account, key, token and endpoint from the environment; a text is empty where its variable is not set.

    Raises:
        OSError: the environment names no account.
    """
    names = ("ACCOUNT_NAME", "ACCOUNT_KEY", "SAS_TOKEN", "ENDPOINT")
    account, key, token, endpoint = (os.environ.get(f"AZURE_STORAGE_{name}", "") for name in names)
    if not account:
        raise OSError("AZURE_STORAGE_ACCOUNT_NAME is not set")
    return account, key, token.lstrip("?"), endpoint


@functools.lru_cache(maxsize=4)
def _az_filesystem(account: str, key: str, token: str, endpoint: str) -> fs.FileSystem:
    options: dict[str, Any] = {"account_key": key} if key else {}
    options |= {"sas_token": f"?{token}"} if token and not key else {}
    if endpoint:
        parts = urlsplit(endpoint)
        for service in ("blob", "dfs"):
            options |= {
                f"{service}_storage_authority": parts.netloc,
                f"{service}_storage_scheme": parts.scheme,
            }
    return fs.AzureFileSystem(account, **options)


def _hf(uri: str) -> tuple[fs.FileSystem, str]:
    return _hf_filesystem(), SCHEME.sub("", uri, count=1)


@functools.lru_cache(maxsize=1)
def _hf_filesystem() -> fs.FileSystem:
    from huggingface_hub import HfFileSystem

    return fs.PyFileSystem(StoreClient(HfFileSystem()))


def _http(uri: str) -> tuple[fs.FileSystem, str]:
    return _http_filesystem(), uri


@functools.lru_cache(maxsize=1)
def _http_filesystem() -> fs.FileSystem:
    import aiohttp
    import fsspec

    timeout = aiohttp.ClientTimeout(
        total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=REQUEST_TIMEOUT_S
    )  # no total: a file may be hundreds of GB
    http = fsspec.filesystem("https", client_kwargs={"timeout": timeout}, skip_instance_cache=True)
    return fs.PyFileSystem(WebClient(http))


_OPENERS = {"file": _local, "s3": _s3, "gs": _gs, "az": _az, "hf": _hf, "http": _http, "https": _http}
