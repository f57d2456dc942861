"""Abort multipart uploads that a killed worker left unfinished: they are invisible, but the bucket's owner pays.

Only S3 needs this. Azure deletes blocks that were never committed after a week; Google's buckets need a lifecycle rule.
"""

from __future__ import annotations

import importlib.util
import logging
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from curate.storage.filesystems import is_set, one_line, s3_place, scheme

log = logging.getLogger("curate")

STALE = timedelta(hours=1)  # by the store's own clock; no upload of ours takes so long
OURS = re.compile(
    r"(?:_dropped/|_run/.*|_manifest/.*|_scores/.*)?[\w-]+-\d+(?:-\d+)?\.(?:parquet|arrow|json)"
)


def abort_unfinished(uri: str) -> int:
    """Abort curate's own unfinished uploads below an `s3://` folder that are an hour old; returns how many it aborted.

    Where boto3 is not installed, requests are unsigned, or the bucket does not let us list uploads, nothing is done.
    """
    if scheme(uri) != "s3" or importlib.util.find_spec("boto3") is None or is_set("AWS_NO_SIGN_REQUEST"):
        return 0
    from botocore.exceptions import BotoCoreError, ClientError

    bucket, _, folder = uri.partition("://")[2].strip("/").partition("/")
    prefix = f"{folder}/" if folder else ""
    aborted = 0
    try:
        client = _client(uri)
        for key, upload in _stale(client, bucket, prefix):
            client.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload)
            aborted += 1
    except (BotoCoreError, ClientError, OSError) as error:
        log.debug("cannot look for unfinished uploads in %s: %s", uri, one_line(error))
    return aborted


def _stale(client: Any, bucket: str, prefix: str) -> Iterator[tuple[str, str]]:
    """Yield key and id of each upload that is curate's, by the form of its name, and older than STALE."""
    for page in client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=prefix):
        said = page["ResponseMetadata"]["HTTPHeaders"].get("date")
        now = parsedate_to_datetime(said) if said else datetime.now(UTC)
        for upload in page.get("Uploads", ()):
            if OURS.fullmatch(upload["Key"][len(prefix) :]) and upload["Initiated"] < now - STALE:
                yield upload["Key"], upload["UploadId"]


def _client(uri: str) -> Any:
    import boto3

    endpoint, region = s3_place(uri)
    return boto3.client("s3", endpoint_url=endpoint, region_name=region)
