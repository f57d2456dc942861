"""Makes the image-text samples: python make_image_text.py [IMAGES SKIMAGE_DATA] (two folders; CREDITS.md).

Writes a sample of each image-text set in its own published form, from captions.toml; before that, where the
two folders are given, shrinks its pictures into images/. Scores, ids, hashes and addresses are made up.
Running it again gives the same files.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
import tomllib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageDraw

HERE = Path(__file__).parent
SITE = "https://example.org/curate-sample/"  # a name that is reserved for examples: nothing is there
IN_CHINESE = (  # of LAION's rows, beside the same pictures in English
    *("park", "skyline", "bed", "umbrella", "palms", "greyhound", "harbour", "astronaut", "cat", "moon"),
)
LONG, SHORT = 336, 216  # pixels: large enough to pass every set's size rule, small enough to ship


def main(images: Path | None = None, skimage: Path | None = None) -> None:
    """Make all samples anew."""
    captions = tomllib.loads((HERE / "captions.toml").read_text(encoding="utf-8"))
    entries, rows = captions["pictures"], captions["rows"]
    if images and skimage:
        pictures(entries, images, skimage)
    laion(entries, rows)
    laion_zh(entries)
    laion_coco(entries)
    coyo(entries)
    datacomp(entries)
    academic(entries, rows["unavailable"])


def pictures(entries: dict[str, Any], images: Path, skimage: Path) -> None:
    """Make all pictures anew."""
    (HERE / "images").mkdir(exist_ok=True)
    for name, entry in entries.items():
        make_image(name, find(entry["from"], images, skimage))
    (HERE / "images" / "unavailable.jpg").write_bytes(jpeg(unavailable()))
    (HERE / "images" / "kitten.jpg").write_bytes((images / "img2dataset/456_123.jpg").read_bytes())
    for name, file in (("bus", "Nikon_COOLPIX_P1"), ("rose", "Pentax_K10D")):
        (HERE / "images" / f"{name}.jpg").write_bytes((images / f"exif_samples/{file}.jpg").read_bytes())


def find(path: str, images: Path, skimage: Path) -> Path:
    """The file that a picture is made from."""
    top, _, rest = path.partition("/")
    if top == "skimage":
        return skimage / rest
    return (images.parent if top == "cc3m" else images) / path


def make_image(name: str, source: Path) -> None:
    """Shrink one picture and write it below images/."""
    image = Image.open(source)
    image = image.convert("RGB") if name != "horse" else image
    factor = max(SHORT / min(image.size), min(1.0, LONG / max(image.size)))
    size = (round(image.width * min(1, factor)), round(image.height * min(1, factor)))
    image = image.resize(size, Image.Resampling.LANCZOS)
    if name == "horse":  # one picture with transparency
        image.save(HERE / "images" / "horse.png", optimize=True)
    elif name == "rocket":  # and one in another format
        image.save(HERE / "images" / "rocket.webp", quality=80, method=6)
    else:
        (HERE / "images" / f"{name}.jpg").write_bytes(jpeg(image))


def jpeg(image: Image.Image) -> bytes:
    """The picture as JPEG."""
    out = io.BytesIO()
    image.save(out, "JPEG", quality=78, optimize=True, progressive=True)
    return out.getvalue()


def unavailable() -> Image.Image:
    """The picture that a host serves for all that is gone."""
    image = Image.new("RGB", (300, 240), "#e8e8e8")
    draw = ImageDraw.Draw(image)
    draw.rectangle((20, 20, 279, 219), outline="#b0b0b0", width=2)
    draw.text((150, 120), "image no longer available", fill="#808080", anchor="mm")
    return image


def file(name: str) -> Path:
    """The shrunk picture of that name."""
    return next((HERE / "images").glob(f"{name}.*"))


def size(name: str) -> tuple[int, int]:
    """Its width and height in pixels."""
    return Image.open(file(name)).size


def number(text: str, bits: int = 63) -> int:
    """A number that looks drawn by lot and is the same every time."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> (64 - bits)


def score(text: str, low: float, high: float) -> float:
    """A number from `low` to `high` that is the same every time."""
    return round(low + (high - low) * number(text, 20) / 2**20, 6)


def url(name: str, variant: str = "") -> str:
    """A made-up address whose last part is the file's name."""
    return f"{SITE}{variant}{file(name).name}"


def write(name: str, rows: list[dict[str, Any]], schema: pa.Schema) -> None:
    """Write a Parquet sample."""
    pq.write_table(pa.Table.from_pylist(rows, schema), HERE / name, compression="zstd")


def laion(entries: dict[str, Any], special: dict[str, Any]) -> None:
    """LAION-2B's joined form, and beside it the image's bytes, so that no network is needed."""
    rows: list[dict[str, Any]] = []

    def add(name: str, text: str | None, **other: Any) -> None:
        rows.append(laion_row(name, text, len(rows)) | other)

    for name, entry in entries.items():
        add(name, entry["alt"])
    for name in IN_CHINESE:
        add(name, entries[name]["zh"])
    for name, text in special["noisy"]:
        add(name, text)
    for name, text in special["mismatched"]:
        add(name, text, similarity=score(text, 0.18, 0.3))
    for name, text in [*special["characters"], *special["short"], ("bag", special["long"] * 13)]:
        add(name, text)
    add("kitten", "Curious kitten peeking over a table, panorama")
    add("bus", "White and green tour bus on a parking lot")
    add("rose", "White rose after the rain", WIDTH=1000, HEIGHT=720)  # larger as published than it is
    for name in ("cat", "espresso"):
        add(name, entries[name]["alt"], URL=rows[list(entries).index(name)]["URL"])
    for text in special["unavailable"]:
        add("unavailable", text)
    whole = file("biplane").read_bytes()
    add("biplane", "Cut off in the middle: a biplane in a museum", image=whole[: len(whole) // 2])
    add(
        "bar",
        "A page that says sorry instead of a picture",
        image=b"<!doctype html><title>404</title>Not found",
    )
    add("soy", None)
    add("floret", "A row without an address and without a picture", image=None, URL=None)
    fields = [("URL", pa.string()), ("TEXT", pa.string()), ("WIDTH", pa.int32()), ("HEIGHT", pa.int32())]
    fields += [("similarity", pa.float64()), ("hash", pa.int64()), ("punsafe", pa.float32())]
    write("laion.parquet", rows, pa.schema([*fields, ("pwatermark", pa.float32()), ("image", pa.binary())]))


def laion_row(name: str, text: str | None, place: int) -> dict[str, Any]:
    """One row as LAION has it, with a score that passes."""
    width, height = size(name)
    address = url(name, f"{place:03d}-")
    row = {"URL": address, "TEXT": text, "WIDTH": width, "HEIGHT": height}
    row |= {"similarity": score(f"{name}{text}", 0.325, 0.41), "hash": number(f"{address}{text}")}
    row |= {"punsafe": score(address, 0, 0.02), "pwatermark": score(f"{address}w", 0, 0.3)}
    return row | {"image": file(name).read_bytes()}


def laion_zh(entries: dict[str, Any]) -> None:
    """The Chinese subset's own columns: sizes as doubles, and each side under the other's name."""
    rows = []
    texts = [(name, entry["zh"], "zh") for name, entry in entries.items() if "zh" in entry]
    texts += [
        ("palms", "夏天的海边\N{PALM TREE}", "zh"),
        ("church", "アレッツォの古い教会", "ja"),
        ("bus", "停车场上的旅游大巴", "zh"),
    ]
    for i, (name, text, language) in enumerate(texts):
        width, height = size(name)
        row = {"SAMPLE_ID": number(text, 42), "URL": url(name), "TEXT": text, "HEIGHT": float(width)}
        row |= {"WIDTH": float(height), "LICENSE": "?", "LANGUAGE": language, "NSFW": "UNLIKELY"}
        row |= {
            "similarity": 0.21 if name == "sutra" else score(text, 0.262, 0.36),
            "__index_level_0__": 3 * i,
        }
        rows.append(row)
    fields = [
        ("SAMPLE_ID", pa.int64()),
        ("URL", pa.string()),
        ("TEXT", pa.string()),
        ("HEIGHT", pa.float64()),
    ]
    fields += [
        ("WIDTH", pa.float64()),
        ("LICENSE", pa.string()),
        ("LANGUAGE", pa.string()),
        ("NSFW", pa.string()),
    ]
    write(
        "laion-zh.parquet",
        rows,
        pa.schema([*fields, ("similarity", pa.float64()), ("__index_level_0__", pa.int64())]),
    )


def laion_coco(entries: dict[str, Any]) -> None:
    """LAION-COCO: several synthetic captions, their scores, sizes as doubles."""
    rows = []
    for i, (name, entry) in enumerate(entries.items()):
        width, height = size(name)
        captions = [*entry["plain"], entry["plain"][0] + " in a photo"]
        best = 0.12 if i % 11 == 7 else score(name, 0.24, 0.34)
        row = {"URL": url(name), "TEXT": entry["alt"], "top_caption": captions[0], "all_captions": captions}
        row |= {
            "all_similarities": [best, best - 0.01, best - 0.02],
            "WIDTH": float(width),
            "HEIGHT": float(height),
        }
        row |= {
            "similarity": score(entry["alt"], 0.28, 0.4),
            "hash": number(name),
            "pwatermark": score(name, 0, 0.3),
        }
        rows.append(row | {"punsafe": score(name, 0, 0.02)})
    fields = [("URL", pa.string()), ("TEXT", pa.string()), ("top_caption", pa.string())]
    fields += [("all_captions", pa.list_(pa.string())), ("all_similarities", pa.list_(pa.float64()))]
    fields += [
        ("WIDTH", pa.float64()),
        ("HEIGHT", pa.float64()),
        ("similarity", pa.float64()),
        ("hash", pa.int64()),
    ]
    write(
        "laion-coco.parquet",
        rows[:24],
        pa.schema([*fields, ("pwatermark", pa.float32()), ("punsafe", pa.float32())]),
    )


def coyo(entries: dict[str, Any]) -> None:
    """COYO: every published column."""
    rows = []
    for name, entry in list(entries.items())[12:36]:
        width, height = size(name)
        words = len(entry["alt"].split())
        row = {
            "id": number(name, 43),
            "url": url(name),
            "text": entry["alt"],
            "width": width,
            "height": height,
        }
        row |= {
            "image_phash": f"{number(name, 63):016x}",
            "text_length": len(entry["alt"]),
            "word_count": words,
        }
        row |= {
            "num_tokens_bert": words + 2,
            "num_tokens_gpt": words + 1,
            "num_faces": int(name == "umbrella"),
        }
        b32 = score(name, 0.27, 0.4)
        row |= {"clip_similarity_vitb32": b32, "clip_similarity_vitl14": b32 - 0.04}
        row |= {"nsfw_score_opennsfw2": score(name, 0, 0.01), "nsfw_score_gantman": score(name, 0, 0.05)}
        rows.append(
            row | {"watermark_score": score(name, 0, 0.2), "aesthetic_score_laion_v2": score(name, 4, 7)}
        )
    types = [pa.int64(), pa.string(), pa.string(), pa.int32(), pa.int32(), pa.string(), *[pa.int32()] * 5]
    write("coyo.parquet", rows, pa.schema(list(zip(rows[0], [*types, *[pa.float32()] * 6], strict=True))))


def datacomp(entries: dict[str, Any]) -> None:
    """DataComp: ids, two scores, face boxes, digests."""
    rows = []
    for name, entry in list(entries.items())[20:44]:
        width, height = size(name)
        b32 = score(name, 0.3, 0.42)
        faces = [[0.21, 0.11, 0.4, 0.38]] if name in ("astronaut", "photographer") else []
        row = {"uid": hashlib.md5(name.encode()).hexdigest(), "url": url(name), "text": entry["alt"]}
        row |= {"original_width": width, "original_height": height, "clip_b32_similarity_score": b32}
        row |= {"clip_l14_similarity_score": b32 - 0.04, "face_bboxes": faces}
        rows.append(row | {"sha256": hashlib.sha256(file(name).read_bytes()).hexdigest()})
    types = [pa.string(), pa.string(), pa.string(), pa.int64(), pa.int64(), pa.float32(), pa.float32()]
    types += [pa.list_(pa.list_(pa.float64())), pa.string()]
    write("datacomp.parquet", rows, pa.schema(list(zip(rows[0], types, strict=True))))


def academic(entries: dict[str, Any], unavailable_texts: list[str]) -> None:
    """The academic sets' text forms: several captions an image, tags, one picture for all that is gone."""
    items = list(entries.items())
    first = [(entry["plain"][0], url(name)) for name, entry in items[:24]]
    second = [(entry["plain"][1], url(name)) for name, entry in items[:6]]
    text("cc3m.tsv", [f"{caption}\t{address}" for caption, address in first + second])
    tagged = [(f"<PERSON> {e['plain'][1]}", url(n)) for n, e in items[24:30]]
    other = [(entry["alt"], url(name)) for name, entry in items[10:34]]
    text("cc12m.tsv", [f"{address}\t{caption}" for caption, address in other + tagged])
    gone = [(caption, url("unavailable", f"{i}/")) for i, caption in enumerate(unavailable_texts)]
    flickr = [(entry["plain"][1], url(name)) for name, entry in items[22:]] + gone
    document = {
        "image_urls": [address for _, address in flickr],
        "user_ids": [f"user{i % 7}" for i in range(len(flickr))],
    }
    text("sbu-captions-all.json", [json.dumps(document | {"captions": [caption for caption, _ in flickr]})])
    images = [
        {"license": 4, "file_name": file(name).name, "coco_url": url(name), "height": size(name)[1],
         "width": size(name)[0], "date_captured": "2013-11-14 17:02:52", "id": 1000 + i}
        for i, (name, _) in enumerate(items[:16])
    ]  # fmt: skip
    annotations = [
        {"image_id": 1000 + i, "id": 5000 + 10 * i + k, "caption": caption.capitalize() + "."}
        for i, (_, entry) in enumerate(items[:16])
        for k, caption in enumerate(entry["plain"])
    ]
    info = {"description": "A sample in the form of COCO's captions", "year": 2014}
    text(
        "captions_sample.json",
        [json.dumps({"info": info, "images": images, "licenses": [], "annotations": annotations})],
    )


def text(name: str, lines: list[str]) -> None:
    """Write a text sample."""
    (HERE / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
