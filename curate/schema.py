"""The one table that flows from source to shard, and the shard's own columns.

Boxes and quads are pixels of `image`, origin top left, y down; a quad's corners go clockwise from the top
left of the text or object itself. `start` and `end` are character (code point) offsets in `text`. A dialogue's regions
are in the image that its messages show last before each one's `<bbox>`.
"""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa

from curate.errors import InputError
from curate.version import __version__

TASKS = (
    "caption", "vqa", "ocr_vqa", "grounded_caption", "referring", "region_caption", "ocr", "ocr_structured", "text",
    "conversation",
)  # fmt: skip
LANGUAGES = ("en", "zh")

REGION = pa.struct(
    [
        ("text", pa.string()),
        ("start", pa.int32()),
        ("end", pa.int32()),
        ("quad", pa.list_(pa.float32(), 8)),
        ("score", pa.float32()),
    ]
)

MESSAGE = pa.struct([("role", pa.string()), ("content", pa.string())])  # system, user or assistant

PICTURE = pa.struct(  # an image of a dialogue on its way
    [
        ("bytes", pa.large_binary()),  # encoded; null until fetched, and once it is in the spool
        ("path", pa.string()),  # where a local image lies; once decoded DATASET/KEY-N.EXT
        ("url", pa.string()),
        ("slot", pa.int64()),  # its number in the spool; null until read
        ("width", pa.int32()),  # as decoded; null until then
        ("height", pa.int32()),
        ("boxes_in_pixels", pa.bool_()),  # regions in it are in pixels of it as published, not shares of it
    ]
)

SAMPLE = pa.schema(
    [
        ("key", pa.string()),  # 32 hex digits, from data set and source id
        ("dataset", pa.string()),
        ("task", pa.string()),
        ("language", pa.string()),
        ("url", pa.large_string()),
        ("source", pa.string()),  # file#row, or document#page
        ("image", pa.large_binary()),  # encoded; null until fetched, and for pure text
        ("image_path", pa.string()),  # where a local image lies, relative to the manifest's image.folder
        ("format", pa.string()),  # jpeg, png or webp; null until decoded
        ("width", pa.int32()),  # as published, then as decoded
        ("height", pa.int32()),
        ("text", pa.large_string()),
        ("question", pa.large_string()),  # vqa and ocr_vqa
        ("answer", pa.large_string()),  # and the HTML of a page, of ocr_structured
        ("regions", pa.list_(REGION)),  # a dialogue's are shares of the image's sides until that is decoded
        (
            "messages",
            pa.list_(MESSAGE),
        ),  # of a dialogue; `<image>` in a user's is the next of `images`, `<bbox>` the next of `regions`
        ("images", pa.list_(PICTURE)),
        (
            "fingerprint",
            pa.binary(),
        ),  # 544 bytes of the upright image and 16 crops of it; null unless it is wanted
        ("clip_score", pa.float32()),
        ("clip_features", pa.list_(pa.float16())),  # of the image, unit length; null until scored
        ("extra", pa.large_string()),  # JSON of the source's other columns
        ("dropped", pa.string()),  # null while the row is alive, else the reason
        ("stage", pa.string()),  # where it was dropped
        ("detail", pa.large_string()),  # the value that decided
    ]
)

LABEL = pa.dictionary(pa.int32(), pa.string())

SHARD = pa.schema(
    [
        ("key", pa.string()),
        ("dataset", LABEL),
        ("task", LABEL),
        ("language", LABEL),
        ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("text", pa.string()),
        ("prompt", pa.string()),
        ("target", pa.string()),
        ("regions", pa.list_(REGION)),
        ("clip_score", pa.float32()),
        ("clip_features", pa.list_(pa.float16())),
        ("url", pa.string()),
        ("source", pa.string()),
        ("images", pa.list_(pa.struct([("bytes", pa.binary()), ("path", pa.string())]))),  # of a dialogue
        ("messages", pa.list_(MESSAGE)),  # null for the tasks with one image
        ("sha256", pa.string()),
        ("extra", pa.string()),
    ]
)

FINGERPRINT = pa.field("fingerprint", pa.string())  # of the whole image, 64 hex digits; a column by setting
SHARD_FORMS = (SHARD, SHARD.append(FINGERPRINT))

DROPPED = pa.schema(
    [
        ("key", pa.string()),
        ("source", pa.string()),
        ("url", pa.string()),
        ("text", pa.string()),
        ("stage", LABEL),
        ("reason", LABEL),
        ("detail", pa.string()),
    ]
)


def conform(table: pa.Table) -> pa.Table:
    """The table with exactly SAMPLE's columns in SAMPLE's order; missing ones are null (N rows).

    Raises:
        InputError: a column that SAMPLE does not know.
    """
    unknown = set(table.column_names) - set(SAMPLE.names)
    if unknown:
        raise InputError(f"columns {sorted(unknown)} are not in the sample schema: put them into 'extra'")
    there = dict(zip(table.column_names, table.columns, strict=True))
    columns = [
        _as(there[field.name], field.type) if field.name in there else pa.nulls(table.num_rows, field.type)
        for field in SAMPLE
    ]
    return pa.table(columns, schema=SAMPLE)


def set_column(table: pa.Table, name: str, values: pa.Array | pa.ChunkedArray) -> pa.Table:
    """The table with one of SAMPLE's columns replaced (N rows)."""
    field = SAMPLE.field(name)
    return table.set_column(SAMPLE.get_field_index(name), field, _as(values, field.type))


def _as(column: Any, kind: pa.DataType) -> Any:
    """A column as one of that type; a cast costs a small table as much as a search."""
    return column if column.type == kind else column.cast(kind)


def shard_metadata(
    manifest_digest: str, scorer: dict[str, Any] | None = None, form: pa.Schema = SHARD
) -> dict[bytes, bytes]:
    """What a shard's schema says of itself: to `datasets` (`huggingface`) and to us (`curate`)."""
    curate = {"version": __version__, "manifest": manifest_digest, "scorer": scorer}
    return {
        b"huggingface": json.dumps({"info": {"features": _hub_features(form)}}, sort_keys=True).encode(),
        b"curate": json.dumps(curate, sort_keys=True).encode(),
    }


def _hub_features(form: pa.Schema) -> dict[str, Any]:
    """A form of SHARD in the legacy form of `datasets` features, which its versions 3 to 5 read alike."""

    def value(dtype: str) -> dict[str, str]:
        return {"dtype": dtype, "_type": "Value"}

    region = {
        "text": value("string"),
        "start": value("int32"),
        "end": value("int32"),
        "quad": {"feature": value("float32"), "length": 8, "_type": "Sequence"},
        "score": value("float32"),
    }
    special = {
        "image": {"_type": "Image"},
        "width": value("int32"),
        "height": value("int32"),
        "regions": [region],
        "images": [{"_type": "Image"}],
        "messages": [{"role": value("string"), "content": value("string")}],
        "clip_score": value("float32"),
        "clip_features": {"feature": value("float16"), "_type": "Sequence"},
    }
    return {name: special.get(name, value("string")) for name in form.names}
