"""Open an input as a source of rows, according to its format."""

from __future__ import annotations

import functools
from pathlib import Path

import msgspec
import pyarrow as pa

from curate.errors import InputError, UnreadableInputError
from curate.manifest.settings import InputSettings
from curate.sources.blame import blamed
from curate.sources.documents import as_lines
from curate.sources.img2dataset import failed_rows
from curate.sources.inputs import FORMATS, Input, check_is_file, suffixes
from curate.sources.joins import joined
from curate.sources.line_formats import open_lines_source
from curate.sources.parquet import open_parquet
from curate.sources.reading import Source
from curate.sources.tars import open_tar

OPEN_AT_ONCE = 4


def open_source(source: Input, settings: InputSettings, work: Path) -> Source:
    """Open an input: count its rows and make them readable from anywhere; its index is kept in the folder `work`.

    The last OPEN_AT_ONCE sources of a process stay open, so that the next unit continues where the last one stopped.

    Raises:
        UnreadableInputError: the input is empty, truncated, damaged, or without rows.
        InputError: it cannot be read here and now, or its format is not known.
        OutputError: `work` cannot be written.
    """
    return _opened(source, msgspec.json.encode(settings), work)


def forget_opened() -> None:
    """Forget the sources that were kept open: a run that starts again in the same folder has deleted its `work`."""
    _opened.cache_clear()


@functools.lru_cache(maxsize=OPEN_AT_ONCE)
def _opened(source: Input, plain: bytes, work: Path) -> Source:
    settings = msgspec.json.decode(plain, type=InputSettings)
    kind = _kind(source, settings)
    try:
        if kind == "parquet":
            opened = open_parquet(source, settings)
            opened = failed_rows(opened, source, work) if source.failed_only else opened
        elif kind == "webdataset":
            opened = open_tar(source, settings, work)
        elif kind == "joined":
            opened = open_lines_source(joined(source, settings, work), settings, work, kind)
        elif kind == "json":
            opened = open_lines_source(as_lines(source, settings, work), settings, work, "joined")
        else:
            opened = open_lines_source(source, settings, work, kind)
    except (OSError, ValueError, EOFError, pa.ArrowException) as error:
        raise blamed(source, error, work) from None
    if not opened.rows and not source.failed_only:
        raise UnreadableInputError(f"{source.uri} holds no row", "empty")
    return opened


def _kind(source: Input, settings: InputSettings) -> str:
    check_is_file(source)
    if empty := [one.uri for one in source.files if not one.bytes]:
        raise UnreadableInputError(f"{empty[0]} is empty", "empty")
    if source.parts:
        return "joined"
    if settings.format != "auto":
        return settings.format
    suffix = suffixes(source.name)[0]
    if not suffix:
        known = ", ".join(sorted(FORMATS))
        raise InputError(f"cannot tell the format of {source.uri}: name it {known}, or set input.format")
    return FORMATS[suffix]
