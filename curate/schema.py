"""The columns of a table of samples on its way from source to shard (SAMPLE), and those of a shard (SHARD).

Boxes and quads are pixels of `image`, origin top left, y down; a quad's corners go clockwise from the top
left of the text or object itself. `start` and `end` are character (code point) offsets in `text`. In a dialogue, each
`<bbox>` of the messages stands for one region, which lies in the image that the messages show last before it, or in
the first image of its own message if that comes later.
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

PICTURE = pa.struct(  # one image of a dialogue, between source and shard
    [
        ("bytes", pa.large_binary()),  # encoded; null before it is fetched, and once it is in the spool
        ("path", pa.string()),  # path of a local image; after decoding DATASET/KEY-N.EXT
        ("url", pa.string()),
        ("slot", pa.int64()),  # its number in the spool; null before it is there
        ("width", pa.int32()),  # pixels of the decoded image; null before that
        ("height", pa.int32()),
        ("boxes_in_pixels", pa.bool_()),  # its regions are in pixels as published, not in shares of its sides
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
        ("image", pa.large_binary()),  # encoded; null before it is fetched, and for pure text
        ("image_path", pa.string()),  # path of a local image, relative to the manifest's image.folder
        ("format", pa.string()),  # jpeg, png or webp; null before decoding
        ("width", pa.int32()),  # pixels: as published, after decoding those of the stored image
        ("height", pa.int32()),
        ("text", pa.large_string()),
        ("question", pa.large_string()),  # vqa and ocr_vqa
        ("answer", pa.large_string()),  # vqa and ocr_vqa; for ocr_structured the HTML of the page
        ("regions", pa.list_(REGION)),  # in a dialogue: before decoding, shares of the image's sides
        (
            "messages",
            pa.list_(MESSAGE),
        ),  # of a dialogue; `<image>` in a user's message is the next of `images`, `<bbox>` the next of `regions`
        ("images", pa.list_(PICTURE)),
        (
            "fingerprint",
            pa.binary(),
        ),  # 544 bytes: of the upright image and of 16 crops of it; null unless a rule or a setting needs it
        ("clip_score", pa.float32()),
        ("clip_features", pa.list_(pa.float16())),  # of the image, unit length; null before scoring
        ("extra", pa.large_string()),  # JSON of the source's other columns
        ("dropped", pa.string()),  # null while the row is alive, else the reason
        ("stage", pa.string()),  # where it was dropped
        ("detail", pa.large_string()),  # the value for which it was dropped
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
        ("messages", pa.list_(MESSAGE)),  # of a dialogue; null for the other tasks
        ("sha256", pa.string()),
        ("extra", pa.string()),
    ]
)

FINGERPRINT = pa.field("fingerprint", pa.string())  # of the whole image, 64 hex digits; an optional column
SHARD_FORMS = (SHARD, SHARD.append(FINGERPRINT))  # the schemas that a shard can have

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
    """Return the table with exactly SAMPLE's columns, in SAMPLE's order; missing ones are null (N rows).

    Raises:
        InputError: the table has a column that is not in SAMPLE.
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
    """Return the table with SAMPLE's column `name` replaced by `values`, cast to the column's type (N rows).

    The table must have all of SAMPLE's columns first, in SAMPLE's order.
    """
    field = SAMPLE.field(name)
    return table.set_column(SAMPLE.get_field_index(name), field, _as(values, field.type))


def _as(column: Any, kind: pa.DataType) -> Any:
    """Return the column with the type `kind`; it is cast only if it has another, as a cast is slow on small tables."""
    return column if column.type == kind else column.cast(kind)


def shard_metadata(
    manifest_digest: str, scorer: dict[str, Any] | None = None, form: pa.Schema = SHARD
) -> dict[bytes, bytes]:
    """Return the metadata of a shard's schema: `huggingface` for the library `datasets`, and `curate` for curate.

    Args:
        manifest_digest: identifies the manifest that the shard was made with.
        scorer: what `clip_score` was computed with; None without scores.
        form: the shard's schema, one of `SHARD_FORMS`.
    """
    curate = {"version": __version__, "manifest": manifest_digest, "scorer": scorer}
    return {
        b"huggingface": json.dumps({"info": {"features": _hub_features(form)}}, sort_keys=True).encode(),
        b"curate": json.dumps(curate, sort_keys=True).encode(),
    }


def _hub_features(form: pa.Schema) -> dict[str, Any]:
    """Describe the columns of `form` in the old notation of `datasets`, which its versions 3 to 5 read alike."""

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
