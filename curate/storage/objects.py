"""Write a folder of an object store (S3, Google's, Azure's): one request for each file, conditional if asked for.

The client is obstore, the Python binding of Rust's object_store. A write is atomic. A large file is uploaded in parts,
which are aborted when the upload fails. Requests that a store answers with 429, 500 or 503 are repeated with growing
pauses. Parquet is read through pyarrow's file systems instead (`curate.storage.filesystems`).
"""

from __future__ import annotations

import errno
import importlib.util
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import IO, Any
from urllib.parse import urlsplit

from curate.storage.filesystems import (
    CONNECT_TIMEOUT_S,
    REQUEST_TIMEOUT_S,
    azure_place,
    is_set,
    one_line,
    s3_place,
    scheme,
)

PART_BYTES = 64 << 20  # bytes of a part of a large file; a smaller file is uploaded in one request
PARTS_AT_ONCE = 2
RETRY: Any = {
    "max_retries": 8,
    "retry_timeout": timedelta(minutes=3),
    "backoff": {
        "init_backoff": timedelta(milliseconds=200),
        "max_backoff": timedelta(seconds=20),
        "base": 2.0,
    },
}

Version = dict[str, str]  # identifies the state of an object: its ETag or its version


class Unsupported(OSError):  # noqa: N818 - like the errors of the standard library that it stands beside
    """The store does not support the operation."""


class Objects:
    """The objects below one folder; methods take their names relative to the folder."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def put(self, name: str, data: bytes | IO[bytes]) -> None:
        """Write an object, or replace it; a failed upload leaves nothing behind.

        Raises:
            OSError: the object was not written.
        """
        import obstore

        with _as_os_errors(name):
            obstore.put(self._store, name, data, chunk_size=PART_BYTES, max_concurrency=PARTS_AT_ONCE)

    def create(self, name: str, data: bytes) -> Version | None:
        """Write an object only if it does not exist yet; returns its version, or None where it exists.

        Raises:
            OSError: the object was not written.
            Unsupported: the store has no such condition.
        """
        return self._put_if(name, data, "create")

    def replace(self, name: str, data: bytes, version: Version) -> Version | None:
        """Replace an object only if it still has that version; returns the new version, or None where it has not.

        Raises:
            OSError: the object was not written.
            Unsupported: the store has no such condition.
        """
        return self._put_if(name, data, version)

    def get(self, name: str) -> tuple[bytes, Version] | None:
        """An object's content and its version; None where there is no such object."""
        import obstore

        try:
            with _as_os_errors(name):
                answer = obstore.get(self._store, name)
                return bytes(answer.bytes()), _version(answer.meta)
        except FileNotFoundError:
            return None

    def listed(self, folder: str) -> tuple[list[str], list[str]]:
        """The names of the objects directly in a folder, and of the folders in it; both sorted."""
        import obstore

        with _as_os_errors(folder):
            found = obstore.list_with_delimiter(self._store, f"{folder}/" if folder else None)
        objects = [one["path"].rsplit("/", 1)[-1] for one in found["objects"]]
        return sorted(objects), sorted(one.rstrip("/").rsplit("/", 1)[-1] for one in found["common_prefixes"])

    def below(self, folder: str) -> Iterator[list[str]]:
        """Yield the names of all objects below a folder, in lists of some thousand."""
        import obstore

        with _as_os_errors(folder):
            for page in obstore.list(self._store, f"{folder}/"):
                yield [one["path"] for one in page]

    def exists(self, name: str) -> bool:
        """Whether there is such an object."""
        import obstore

        try:
            with _as_os_errors(name):
                obstore.head(self._store, name)
        except FileNotFoundError:
            return False
        return True

    def delete(self, names: Sequence[str]) -> None:
        """Remove objects; those that do not exist are ignored."""
        import obstore

        if names:
            try:
                with _as_os_errors(names[0]):
                    obstore.delete(self._store, list(names))
            except FileNotFoundError:
                return

    def _put_if(self, name: str, data: bytes, mode: Any) -> Version | None:
        import obstore
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        with _as_os_errors(name):
            try:
                return _version(obstore.put(self._store, name, data, mode=mode, use_multipart=False))
            except (AlreadyExistsError, PreconditionError):
                return None


def open_objects(uri: str) -> Objects | None:
    """Open the folder `uri` of an object store; None where obstore is not installed or does not serve it."""
    if importlib.util.find_spec("obstore") is None:
        return None
    kind, path = scheme(uri), uri.partition("://")[2].strip("/")
    bucket, _, prefix = path.partition("/")
    if kind == "s3":
        return Objects(_s3(uri, bucket, prefix))
    if kind == "az":
        return Objects(_az(bucket, prefix))
    if kind == "gs" and "CLOUD_STORAGE_EMULATOR_ENDPOINT" not in os.environ:  # obstore cannot use emulators
        return Objects(_gs(bucket, prefix))
    return None


def _s3(uri: str, bucket: str, prefix: str) -> Any:
    from obstore.store import S3Store

    endpoint, region = s3_place(uri)
    options: dict[str, Any] = {"region": region, "client_options": _client(endpoint), "retry_config": RETRY}
    if endpoint:
        options["endpoint"] = endpoint if "://" in endpoint else f"https://{endpoint}"
    if is_set("AWS_NO_SIGN_REQUEST"):
        options["skip_signature"] = True
    elif "AWS_ACCESS_KEY_ID" not in os.environ and importlib.util.find_spec("boto3") is not None:
        from obstore.auth.boto3 import Boto3CredentialProvider  # knows profiles too

        options["credential_provider"] = Boto3CredentialProvider()
    return S3Store(bucket, prefix=prefix or None, **options)


def _gs(bucket: str, prefix: str) -> Any:
    from obstore.store import GCSStore

    options: dict[str, Any] = {"client_options": _client(None), "retry_config": RETRY}
    if is_set("GS_NO_SIGN_REQUEST"):
        options["skip_signature"] = True
    return GCSStore(bucket, prefix=prefix or None, **options)


def _az(container: str, prefix: str) -> Any:
    from obstore.store import AzureStore

    account, key, token, endpoint = azure_place()
    options: dict[str, Any] = {"account_name": account, "client_options": _client(endpoint or None)}
    options |= {"account_key": key} if key else {"sas_key": token} if token else {}
    if endpoint:
        options["endpoint"] = f"{endpoint.rstrip('/')}/{account}" if _is_local(endpoint) else endpoint
    return AzureStore(container, prefix=prefix or None, retry_config=RETRY, **options)


def _is_local(endpoint: str) -> bool:
    """Whether an endpoint is an emulator on this machine; its URLs have the account in the path, not in the host."""
    return urlsplit(endpoint).hostname in ("127.0.0.1", "localhost", "::1")


def _client(endpoint: str | None) -> dict[str, Any]:
    return {
        "allow_http": endpoint is not None and urlsplit(endpoint).scheme == "http",
        "connect_timeout": timedelta(seconds=CONNECT_TIMEOUT_S),
        "timeout": timedelta(seconds=10 * REQUEST_TIMEOUT_S),  # for a whole part, on a slow connection
    }


def _version(found: Any) -> Version:
    """An object's version, without empty fields: a condition may hold only what the store itself gave."""
    return {name: found[name] for name in ("e_tag", "version") if found.get(name)}


@contextmanager
def _as_os_errors(name: str) -> Iterator[None]:
    """Turn obstore's errors in the block into OSErrors; `name` is put into the message."""
    from obstore import exceptions

    try:
        yield
    except (exceptions.NotSupportedError, NotImplementedError) as error:
        raise Unsupported(errno.ENOTSUP, one_line(error)) from None
    except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError) as error:
        raise PermissionError(errno.EACCES, f"{name}: {one_line(error)}") from None
    except exceptions.NotFoundError as error:
        raise FileNotFoundError(errno.ENOENT, f"{name}: {one_line(error)}") from None
    except exceptions.BaseError as error:
        raise OSError(errno.EIO, f"{name}: {one_line(error)}") from None
