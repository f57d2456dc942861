"""`curate held-out`: lists the images that data sets hold out for validation and test, from the files they publish.

A file is a list of objects with a `split`: RefCOCO's pickles of references, Karpathy's dataset_coco.json, any table. An
image is named by its file, as `image_name_on_list` knows it: COCO's images by their number. Visual Genome's
image_data.json has no `split` but `coco_id`: of it the images are listed that the other files hold out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from curate.errors import InputError, UnitError
from curate.fingerprinting.made_file import one_file, write_file
from curate.images.name_lists import MAX_LINE
from curate.manifest.settings import InputSettings
from curate.sources import FORMATS, JOINED, PICKLES, Input, expand, open_source, together
from curate.storage.filesystems import one_line
from curate.storage.scratch import ScratchFolder
from curate.terminal import plural, printable
from filters.image_names import names_of, numbers_of

SPLIT, COCO_ID = "split", "coco_id"
TAUGHT = ("train", "restval")  # the splits that are not held out
FILES = (
    "file_name",
    "filename",
    "image_path",
    "image",
)  # the columns with an image's name, the first that is there
NUMBERS = ("cocoid", COCO_ID)  # those with COCO's number, where no name is there
MOST_SPLITS = 100
LONGEST = 100  # characters of a split's name


@dataclass
class _Held:
    """What was found so far."""

    names: set[str] = field(default_factory=set)
    splits: Counter[str] = field(default_factory=Counter)  # images, by the split that holds them out
    left_out: int = 0  # rows whose name cannot be written as one line


def held_out(uris: Sequence[str], out: str) -> dict[str, Any]:
    """Write the names of the images that the files at `uris` hold out to the file `out`, one a line.

    Returns what was found and left out.

    Raises:
        InputError: a file cannot be read or has neither splits nor COCO's numbers, or nothing is held out.
        ManifestError: `out` is a folder or on an object store.
        OutputError: `out` cannot be written.
    """
    place, held = one_file(out, "held-out.txt"), _Held()
    later: list[Input] = []
    with ScratchFolder() as work:
        for one in expand(uris, (*FORMATS, *PICKLES)):
            if not _take_splits(one, held, work):
                later.append(one)
        known = set(held.names)
        for one in later:
            _take_shared(one, known, held, work)
    if not held.names:
        raise InputError(f"{', '.join(uris)} hold no image out: every split is {' or '.join(TAUGHT)}")
    write_file(place, "".join(f"{name}\n" for name in sorted(held.names)).encode())
    splits = dict(sorted(held.splits.items()))
    return {"out": out, "images": len(held.names), "splits": splits, "left_out": held.left_out}


def held_out_lines(made: Mapping[str, Any]) -> Iterator[str]:
    """What `held_out` made, for a person."""
    yield f"{plural(made['images'], 'image')} in {made['out']}"
    for split, count in made["splits"].items():
        yield f"  {printable(split)}: {count:,}"
    if made["left_out"]:
        yield f"  left out {plural(made['left_out'], 'row')}, as no line can hold the name"


def _take_splits(one: Input, held: _Held, work: Path) -> bool:
    """Add the images that a file's splits hold out, and return whether the file has splits."""
    for batch in _batches(one, work):
        if SPLIT not in batch.schema.names:
            return False
        names = _names(batch, one)
        for split, name in zip(batch.column(SPLIT).to_pylist(), names.to_pylist(), strict=True):
            if not isinstance(split, str) or split in ("", *TAUGHT) or not name or name in held.names:
                continue
            if not _is_line(name):
                held.left_out += 1
                continue
            held.names.add(name)
            said = split[:LONGEST]
            if said in held.splits or len(held.splits) < MOST_SPLITS:
                held.splits[said] += 1
    return True


def _is_line(name: str) -> bool:
    """Whether a name can be a line of a list."""
    return name.splitlines() == [name.strip()] and len(name) <= MAX_LINE


def _take_shared(one: Input, known: set[str], held: _Held, work: Path) -> None:
    """Add a file's own numbers of the images that are held out by COCO's number."""
    for batch in _batches(one, work):
        columns = batch.schema.names
        if COCO_ID not in columns or "image_id" not in columns:
            has = ", ".join(name for name in columns if not name.startswith("curate.")) or "none"
            raise InputError(
                f"{one.uri} has no column 'split', nor 'coco_id' beside 'image_id': it has {has}"
            )
        theirs = numbers_of(batch.column(COCO_ID)).to_pylist()
        for coco, own in zip(theirs, batch.column("image_id").to_pylist(), strict=True):
            if coco in known and own is not None and str(own) not in held.names:
                held.names.add(str(own))
                held.splits["by coco_id"] += 1


def _names(batch: pa.RecordBatch, one: Input) -> pa.Array:
    """Return the names of a batch's images (N), in the form in which lists have them."""
    columns = {field.name: field.type for field in batch.schema}
    for name in FILES:
        if name in columns and (pa.types.is_string(columns[name]) or pa.types.is_large_string(columns[name])):
            return names_of(batch.column(name))
    for name in NUMBERS:
        if name in columns:
            return numbers_of(batch.column(name))
    raise InputError(
        f"{one.uri} has no column with an image's name: give one of {', '.join((*FILES, *NUMBERS))}"
    )


def _batches(one: Input, work: Path) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a file; in a pickle or JSON document, the objects of its lists are the rows."""
    listed = one.name.lower().removesuffix(".gz").endswith(JOINED)
    source = open_source(
        together([one]) if listed else one,
        InputSettings(main=(SPLIT, COCO_ID)) if listed else InputSettings(),
        work,
    )
    try:
        yield from source.batches(0, source.rows)
    except (UnitError, OSError, pa.ArrowException) as error:
        raise InputError(f"cannot read {one.uri}: {one_line(error)}") from None
