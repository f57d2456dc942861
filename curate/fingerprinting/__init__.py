"""Fingerprint files of evaluation sets: what `curate fingerprint` does.

Images are files in folders, members of tars, and binary columns of Parquet (shards too); texts are columns of tables.
Images are decoded in disposable child processes, because they may be hostile.
"""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt
import pyarrow as pa

from curate.children.pool import Children, Limits, Outcome
from curate.errors import InputError, UnitError
from curate.fingerprinting.made_file import one_file, write_file
from curate.fingerprinting.table_contents import hashes_of, images_of, texts_of
from curate.images import protocol
from curate.images.evaluation import write_set
from curate.images.fingerprint import METHOD, VERSION
from curate.manifest.settings import FetchSettings, ImageSettings, InputSettings
from curate.sources import FORMATS, Input, expand, open_source
from curate.storage.filesystems import filesystem, one_line
from curate.storage.scratch import ScratchFolder
from curate.terminal import bytes_said, plural

IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".avif")
HASHES = (".txt", ".pdq")  # lists of PDQ hashes, one a line
COLUMNS = ("question", "answer", "answers")  # a table's columns of texts, unless others are given
SHOWN_SIDE, SHOWN_QUALITY = 128, 60  # of the small pictures that are kept for the report
AHEAD = 64  # images that are sent to the child processes before their answers are read
LARGEST = FetchSettings().max_bytes  # bytes of an image file
TIMEOUT_S = 20.0
LONGEST = 200  # characters of a source's name in the file's header


@dataclass
class Gathered:
    """What was found so far."""

    images: list[tuple[str, bytes, bytes]]  # name, fingerprints, small picture
    texts: list[npt.NDArray[Any]]
    left_out: Counter[str]  # images, by the reason why they have no fingerprint


def fingerprint(
    uris: Sequence[str], out: str, columns: Sequence[str] = COLUMNS, pictures: bool = True
) -> dict[str, Any]:
    """Fingerprint images and texts into the file `out`; return what was found and left out.

    Args:
        uris: files, folders or globs: images, tars, Parquet and other tables, and lists of PDQ hashes.
        out: the file to write, on this machine.
        columns: a table's columns of texts; those that it lacks are ignored.
        pictures: whether to keep a small picture of each image for the report.

    Raises:
        InputError: an input cannot be read, or there is neither an image nor a text.
        ManifestError: `out` is a folder or on an object store.
        OutputError: `out` cannot be written.
    """
    place = one_file(out, "evaluation.prints")
    found, sources = Gathered([], [], Counter()), []
    with ScratchFolder() as work, _children() as children:
        for one in expand(uris, (*IMAGES, *HASHES, *FORMATS)):
            images, texts = len(found.images), len(found.texts)
            _gather(one, found, columns, work, children)
            sources.append(
                {"name": one.name, "images": len(found.images) - images, "texts": len(found.texts) - texts}
            )
    if not found.images and not found.texts:
        why = ", ".join(f"{reason} {count}" for reason, count in found.left_out.most_common(3))
        raise InputError(f"nothing to fingerprint in {', '.join(uris)}" + (f": {why}" if why else ""))
    shown = found.images if pictures else [(name, marks, b"") for name, marks, _ in found.images]
    content = write_set(_summed(sources), shown, found.texts)
    write_file(place, content)
    return {
        "out": out,
        "method": METHOD,
        "version": VERSION,
        "images": len(found.images),
        "texts": len(found.texts),
        "left_out": dict(sorted(found.left_out.items())),
        "sources": sources,
        "bytes": len(content),
    }


def lines(made: Mapping[str, Any]) -> Iterator[str]:
    """What `fingerprint` made, for a person."""
    found = f"{plural(made['images'], 'image')}, {plural(made['texts'], 'text')}"
    yield f"{found} in {made['out']}, {bytes_said(made['bytes'])}"
    for reason, count in made["left_out"].items():
        yield f"  left out {count:,} as {reason}"


def _gather(one: Input, found: Gathered, columns: Sequence[str], work: Path, children: Children) -> None:
    """Add the images and texts of one input to `found`."""
    if not one.is_file:
        found.left_out["unreadable"] += 1
        return
    if one.name.lower().endswith(HASHES):
        found.images += [(name, marks, b"") for name, marks in hashes_of(_body(one), one.name)]
        return
    if one.name.lower().endswith(IMAGES):
        bodies: Iterator[tuple[str, bytes]] = iter([(one.name, _body(one))])
    else:
        bodies = _rows(one, found, columns, work)
    flying: deque[tuple[str, bytes, Future[Outcome]]] = deque()
    for name, body in bodies:
        flying.append((name, body, children.submit(body)))
        if len(flying) > AHEAD:
            _land(*flying.popleft(), found)
    while flying:
        _land(*flying.popleft(), found)


def _rows(one: Input, found: Gathered, columns: Sequence[str], work: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the images of a table's rows (name, bytes), and add its texts to `found`."""
    source, row = open_source(one, InputSettings(), work), 0
    try:
        for batch in source.batches(0, source.rows):
            found.texts += texts_of(batch, columns)
            yield from images_of(batch, one.name, row)
            row += batch.num_rows
    except (UnitError, OSError, pa.ArrowException) as error:
        raise InputError(f"cannot read {one.uri} from row {row} on: {one_line(error)}") from None


def _land(name: str, body: bytes, future: Future[Outcome], found: Gathered) -> None:
    """Wait for a child's answer about one image, and add its fingerprints, or the reason why it has none."""
    outcome = future.result()
    if outcome.value is None:
        found.left_out[outcome.reason or "crashed"] += 1
        return
    answer = protocol.read_answer(outcome.value, body)
    if answer.reason is not None or answer.fingerprint is None:
        found.left_out[answer.reason or "image_too_plain"] += 1
        return
    found.images.append((name, answer.fingerprint, answer.image or b""))


def _children() -> Children:
    settings = ImageSettings(max_side=SHOWN_SIDE, quality=SHOWN_QUALITY, fingerprints=True)
    limits = Limits(timeout_s=TIMEOUT_S, memory_bytes=settings.memory_bytes)
    return Children(
        protocol.TARGET, len(os.sched_getaffinity(0)), limits, protocol.child_settings(settings, {})
    )


def _body(one: Input) -> bytes:
    """Read an image file, or its first LARGEST bytes."""
    system, path = filesystem(one.uri)
    try:
        with system.open_input_stream(path) as file:
            body: bytes = file.read(LARGEST)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"cannot read {one.uri}: {one_line(error)}") from None
    return body


def _summed(sources: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the sources that the file's header names: the image files of a folder count as one source."""
    tables = [one for one in sources if not one["name"].lower().endswith(IMAGES)]
    files = [one for one in sources if one["name"].lower().endswith(IMAGES)]
    tables = [one | {"name": one["name"][:LONGEST]} for one in tables]
    folders: Counter[str] = Counter()
    for one in files:
        folders[one["name"].rpartition("/")[0][:LONGEST] or "."] += one["images"]
    return [
        *tables[:1000],
        *({"name": name, "images": n, "texts": 0} for name, n in sorted(folders.items())[:1000]),
    ]
