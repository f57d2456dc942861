"""Which broken pictures are found, and which intact ones fall, beside three decoders that do not look for damage?

    python -m benchmarks.whole_pictures FOLDER_OF_PICTURES… [--sheet SHEET.jpg] [--kinds jpeg …]

Intact are the distinct pictures of the folders (files that say `corrupt`, `trunc` and the like apart), up to INTACT of
each kind; kinds that the folders have too few of are filled up with photographs encoded by Pillow. Broken are BROKEN
of such encoded photographs of each kind, damaged in six ways in turn; those whose pixels stay what they were are not
counted. Pillow, OpenCV and MuPDF decode them whole. The sheet shows what `image.strictness = "whole"` drops and
`"readable"` keeps, as Pillow shows it.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import random
import re
import struct
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pymupdf
from PIL import Image, ImageFile

from curate.images.prepare import ImageError, prepare
from curate.images.protocol import Recipe
from curate.images.sniffing import sniff

KINDS = {"jpeg": "JPEG", "png": "PNG", "webp": "WEBP", "gif": "GIF", "avif": "AVIF"}
INTACT, BROKEN = 400, 100  # of each kind
LARGEST = 3 * 2**20  # bytes
NOT_INTACT = re.compile(
    r"corrupt|trunc|broken|crash|bomb|invalid|bad|fuzz|oom|timeout|cases|tricky|missing|empty", re.I
)
END = {"jpeg": b"\xff\xd9", "png": b"\0\0\0\0IEND\xaeB`\x82", "gif": b"\0;"}
THUMB, COLUMNS = 160, 10


def pictures(folders: list[Path]) -> dict[str, list[bytes]]:
    """Distinct pictures by kind."""
    found: dict[str, list[bytes]] = defaultdict(list)
    known = set()
    for file in sorted(file for folder in folders for file in folder.rglob("*") if file.is_file()):
        if NOT_INTACT.search(str(file)) or file.stat().st_size > LARGEST:
            continue
        with file.open("rb") as opened:
            kind = sniff(opened.read(2048))
        body = file.read_bytes() if kind in KINDS else b""
        digest = hashlib.sha256(body).digest()
        if kind in KINDS and digest not in known:
            known.add(digest)
            found[kind].append(body)
    return found


def made(kind: str, photographs: list[bytes], count: int) -> Iterator[bytes]:
    """Photographs, cut somewhere at random, encoded as a kind."""
    draw = random.Random(kind)
    for _ in range(count):
        with Image.open(io.BytesIO(draw.choice(photographs))) as image:
            image = image.convert("RGB")
        left, top = draw.randrange(image.width // 4), draw.randrange(image.height // 4)
        image = image.crop((left, top, left + image.width * 3 // 4, top + image.height * 3 // 4))
        image.thumbnail((320, 320))
        out = io.BytesIO()
        how: dict[str, Any] = {"speed": 9} if kind == "avif" else {"progressive": draw.random() < 0.3}
        image.save(out, KINDS[kind], quality=draw.choice([60, 75, 90]), **how)
        yield out.getvalue()


def cut(kind: str, body: bytes, draw: random.Random) -> bytes:
    return body[: int(len(body) * draw.uniform(0.3, 0.95))]


def cut_and_ended(kind: str, body: bytes, draw: random.Random) -> bytes:
    """Cut, and whatever tells the length or the end put right."""
    body = cut(kind, body, draw)
    if kind == "webp":
        return with_lengths(body, (4, len(body) - 8), (16, len(body) - 20))
    if kind == "avif":
        place = body.index(b"mdat") - 4
        return body[:place] + struct.pack(">I", len(body) - place) + body[place + 4 :]
    return body + END[kind]


def with_lengths(body: bytes, *lengths: tuple[int, int]) -> bytes:
    mended = bytearray(body[: len(body) - len(body) % 2])
    for place, length in lengths:
        struct.pack_into("<I", mended, place, length - length % 2)
    return bytes(mended)


def zero_tail(kind: str, body: bytes, draw: random.Random) -> bytes:
    start = int(len(body) * draw.uniform(0.4, 0.9))
    return body[:start] + bytes(len(body) - start)


def zero_middle(kind: str, body: bytes, draw: random.Random) -> bytes:
    start, length = int(len(body) * draw.uniform(0.4, 0.7)), int(len(body) * draw.uniform(0.05, 0.2))
    return body[:start] + bytes(length) + body[start + length :]


def flipped(kind: str, body: bytes, draw: random.Random) -> bytes:
    """64 bits flipped in the last half."""
    damaged = bytearray(body)
    for _ in range(64):
        damaged[draw.randrange(len(body) // 2, len(body))] ^= 1 << draw.randrange(8)
    return bytes(damaged)


def more_rows(kind: str, body: bytes, draw: random.Random) -> bytes:
    """The header tells of half as many rows again as there are."""
    width, height = Image.open(io.BytesIO(body)).size
    told = height * 3 // 2
    if kind == "png":
        chunk = b"IHDR" + body[16:20] + struct.pack(">I", told) + body[24:29]
        return body[:12] + chunk + struct.pack(">I", zlib.crc32(chunk)) + body[33:]
    sides, form = {
        "jpeg": ((height, width), ">HH"),
        "webp": ((width, height), "<HH"),
        "gif": ((width, height), "<HH"),
        "avif": ((width, height), ">II"),
    }[kind]
    changed = tuple(told if side == height else side for side in sides)
    return body.replace(struct.pack(form, *sides), struct.pack(form, *changed))


DAMAGES: dict[str, Callable[[str, bytes, random.Random], bytes]] = {
    "cut": cut,
    "cut, end put back": cut_and_ended,
    "zeros to the end": zero_tail,
    "zeros within": zero_middle,
    "64 bits flipped": flipped,
    "more rows told": more_rows,
}


def shown(body: bytes) -> Image.Image | None:
    """What Pillow shows of it, whatever is missing."""
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    try:
        with Image.open(io.BytesIO(body)) as image:
            return image.convert("RGB")
    except Exception:
        return None
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = False


def is_damaged(body: bytes, whole: bytes) -> bool:
    seen, right = shown(body), shown(whole)
    return seen is None or right is None or seen.size != right.size or seen.tobytes() != right.tobytes()


def by_pillow(body: bytes) -> None:
    with Image.open(io.BytesIO(body)) as image:
        image.load()


def by_opencv(body: bytes) -> None:
    if cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR) is None:
        raise ValueError


def by_mupdf(body: bytes) -> None:
    """JPEG, PNG and GIF; it knows no WebP and no AVIF, and so refuses them all."""
    void(pymupdf.Pixmap(body).samples)


def by_curate(strictness: str) -> Callable[[bytes], None]:
    return lambda body: void(prepare(body, Recipe(strictness=strictness)))


def void(_: object) -> None:
    """Nothing is done with what was read."""


def refuses(read: Callable[[bytes], None], body: bytes) -> bool:
    try:
        read(body)
    except (ImageError, Exception):  # decoders raise what they like
        return True
    return False


def sheet(images: list[bytes]) -> Image.Image:
    """Thumbnails, COLUMNS in a row."""
    whole = Image.new("RGB", (COLUMNS * THUMB, -(-len(images) // COLUMNS) * THUMB), "white")
    for place, body in enumerate(images):
        image = shown(body) or Image.new("RGB", (THUMB, THUMB), "red")
        image.thumbnail((THUMB - 4, THUMB - 4))
        whole.paste(image, (place % COLUMNS * THUMB, place // COLUMNS * THUMB))
    return whole


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=list(KINDS))
    options = parser.parse_args()
    readers = {
        "curate": by_curate("whole"),
        "readable": by_curate("readable"),
        "Pillow": by_pillow,
        "OpenCV": by_opencv,
        "MuPDF": by_mupdf,
    }
    real = pictures(options.folders)
    photographs = [body for body in real["jpeg"] if len(body) > 40_000]
    newly: list[bytes] = []
    for kind in options.kinds:
        own = random.Random(0).sample(real[kind], min(INTACT, len(real[kind])))
        bodies = {"intact": own + list(made(kind, photographs, INTACT - len(own)))}
        draw, whole = random.Random(1), list(made(kind, photographs, BROKEN))
        for place, (name, damage) in enumerate(DAMAGES.items()):
            damaged = [(damage(kind, body, draw), body) for body in whole[place :: len(DAMAGES)]]
            bodies[name] = [body for body, before in damaged if is_damaged(body, before)]
        total: Counter[str] = Counter()
        for name, some in bodies.items():
            verdicts = [{reader: refuses(read, body) for reader, read in readers.items()} for body in some]
            newly += [b for b, v in zip(some, verdicts, strict=True) if v["curate"] and not v["readable"]]
            counts = Counter(reader for verdict in verdicts for reader in verdict if verdict[reader])
            total += counts if name != "intact" else Counter()
            note = f" ({len(own)} of them found)" if name == "intact" else ""
            refused = ", ".join(f"{reader} {counts[reader]}" for reader in readers)
            print(f"{kind:5} {name:18} {len(some):4}{note}: refused by {refused}", flush=True)
        print(f"{kind:5} all broken: refused by {dict(total)}", flush=True)
    if options.sheet:
        sheet(newly).save(options.sheet)
        print(f"{options.sheet}: {len(newly)} pictures that fall by strictness alone")


if __name__ == "__main__":
    main()
