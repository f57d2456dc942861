"""Copies found by fingerprint: recall by kind of copy, false pairs, and what a fingerprint costs beside decoding.

    python -m benchmarks.fingerprints PHOTOS [--peers FOLDER]

PHOTOS is a folder of JPEGs. Each is altered in the ways of COPIES; a copy counts as found when it is within each
method's threshold of its original. False pairs are counted over quarters of a quarter of the photographs (so that there
are a million pairs), between different photographs. imagehash and imagededup are measured beside ours where they can
be imported (perhaps from FOLDER: `pip install --target FOLDER imagehash imagededup`), with 64 bits and thresholds of 10
bits, imagededup's default, and ours with 56 of 256. The last table plants copies among synthetic fingerprints.
"""

from __future__ import annotations

import argparse
import io
import sys
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from curate.errors import MachineError
from curate.images import fingerprint as ours
from curate.images.prepare import prepare
from curate.images.protocol import Recipe
from filters.copies import MAX_DISTANCE, VIEW_BYTES, VIEWS, CopyIndex, Entries, bits_for

Picture = Image.Image
PIECES = 4  # a side
ROWS = 20_000


def cut(left: float, top: float, right: float, bottom: float) -> Callable[[Picture], Picture]:
    def crop(image: Picture) -> Picture:
        width, height = image.size
        return image.crop(
            (
                round(left * width),
                round(top * height),
                round((1 - right) * width),
                round((1 - bottom) * height),
            )
        )

    return crop


def drawn(draw: Callable[[ImageDraw.ImageDraw, int, int], object]) -> Callable[[Picture], Picture]:
    def change(image: Picture) -> Picture:
        image = image.copy()
        draw(ImageDraw.Draw(image), *image.size)
        return image

    return change


def mark(pen: ImageDraw.ImageDraw, width: int, height: int) -> None:
    font = ImageFont.load_default(max(10, height // 16))
    pen.text((width * 0.55, height * 0.9), "© example.com", fill=(255, 255, 255), font=font)


def logo(pen: ImageDraw.ImageDraw, width: int, height: int) -> None:
    size = min(width, height) // 9
    pen.ellipse((10, 10, 10 + size, 10 + size), fill=(220, 20, 20))


def panel(pen: ImageDraw.ImageDraw, width: int, height: int) -> None:
    pen.rectangle((width * 0.7, height * 0.85, width * 0.97, height * 0.95), fill=(255, 255, 255))


COPIES: dict[str, Callable[[Picture], Picture]] = {
    "quality 50": lambda image: image,
    "half the size": lambda image: image.resize((image.width // 2, image.height // 2)),
    "crop 2.5 % off one side": cut(0.025, 0, 0, 0),
    "crop 5 % off one side": cut(0.05, 0, 0, 0),
    "crop 5 % off two sides": cut(0, 0, 0.05, 0.05),
    "crop 5 % off every side": cut(0.05, 0.05, 0.05, 0.05),
    "crop 3, 1, 4, 2 %": cut(0.03, 0.01, 0.04, 0.02),
    "overlay: a line of text": drawn(mark),
    "overlay: a logo, 1/9 of the side": drawn(logo),
    "overlay: a white panel, 3 % of the area": drawn(panel),
}


def encoded(image: Picture, quality: int) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return out.getvalue()


def views(body: bytes) -> np.ndarray | None:
    found = prepare(body, Recipe(fingerprints=True)).fingerprint
    return None if found is None else np.frombuffer(found, np.uint8).reshape(VIEWS, VIEW_BYTES)


def apart(one: np.ndarray | None, other: np.ndarray | None) -> int:
    if one is None or other is None:
        return 256
    words = one.view(np.uint64), other.view(np.uint64)
    return int(min(np.bitwise_count(a[0] ^ b).sum(axis=1).min() for a, b in (words, words[::-1])))


def whole_apart(one: np.ndarray | None, other: np.ndarray | None) -> int:
    return 256 if one is None or other is None else int(np.bitwise_count(one[0] ^ other[0]).sum())


def imagededup_phash() -> Any:
    """imagededup's PHash; its package imports torchvision, which must find its operators named."""
    from curate.scorer.weights import open_clip_module

    open_clip_module()
    from imagededup.methods import PHash

    return PHash


Method = tuple[str, Callable[[bytes], object], Callable[[object, object], int], int]


def methods() -> list[Method]:
    found: list[Method] = [
        (f"curate, {MAX_DISTANCE} of 256", views, apart, MAX_DISTANCE),  # type: ignore[list-item]
        ("PDQ's whole alone, 31 of 256", views, whole_apart, 31),  # type: ignore[list-item]
    ]
    try:
        import imagehash

        for name in ("phash", "dhash", "whash"):
            function = getattr(imagehash, name)
            found.append(
                (
                    f"imagehash {name}, 10 of 64",
                    lambda body, f=function: f(Image.open(io.BytesIO(body))),
                    lambda a, b: a - b,
                    10,
                )
            )
    except ImportError as error:
        print(f"imagehash left out: {error}")
    try:
        phash = imagededup_phash()
        hasher = phash(verbose=False)
        found.append(
            (
                "imagededup PHash, 10 of 64",
                lambda body: hasher.encode_image(image_array=np.asarray(Image.open(io.BytesIO(body)))),
                lambda a, b: hasher.hamming_distance(a, b),
                10,
            )
        )
    except ImportError as error:
        print(f"imagededup left out: {error}")
    return found


def recall(photos: list[Picture], tried: list[Method]) -> None:
    print(f"\nrecall on {len(photos)} photographs, copies encoded at quality 50")
    originals = [encoded(photo, 92) for photo in photos]
    copies = {kind: [encoded(change(photo), 50) for photo in photos] for kind, change in COPIES.items()}
    for name, hashed, distance, threshold in tried:
        known = [hashed(body) for body in originals]
        shares = []
        for bodies in copies.values():
            near = [distance(a, hashed(body)) <= threshold for a, body in zip(known, bodies, strict=True)]
            shares.append(float(np.mean(near)))
        print(f"  {name}")
        for kind, share in zip(copies, shares, strict=True):
            print(f"    {kind:42} {100 * share:5.1f} %")


def through_index(photos: list[Picture], rows: int) -> None:
    """What the bands let through, where the originals lie among so many other fingerprints."""
    known = [
        (number, found)
        for number, photo in enumerate(photos)
        if (found := views(encoded(photo, 92))) is not None
    ]
    others = np.random.default_rng(1).integers(0, 256, (rows, VIEWS, VIEW_BYTES), dtype=np.uint8)
    index = CopyIndex(np.concatenate([[found for _, found in known], others]))
    print(f"\nfound among {rows:,} others, through bands of {index.bits} bits")
    for kind, change in COPIES.items():
        asked = [views(encoded(change(photos[number]), 50)) for number, _ in known]
        there = [at for at, one in enumerate(asked) if one is not None]
        found, _ = index.nearest(np.array([asked[at] for at in there]), MAX_DISTANCE)
        print(f"    {kind:42} {100 * float((found == there).sum()) / len(known):5.1f} %")


def pieces(photos: list[Picture]) -> tuple[list[bytes], np.ndarray]:
    """Parts of the photographs, three times as large, encoded; and the photograph that each is of."""
    bodies, owners = [], []
    for number, photo in enumerate(photos):
        for across, down in product(range(PIECES), range(PIECES)):
            box = (across * photo.width // PIECES, down * photo.height // PIECES)
            piece = photo.crop((*box, box[0] + photo.width // PIECES, box[1] + photo.height // PIECES))
            bodies.append(encoded(piece.resize((piece.width * 3, piece.height * 3)), 90))
            owners.append(number)
    return bodies, np.array(owners)


def false_pairs(photos: list[Picture], tried: list[Method]) -> None:
    bodies, owners = pieces(photos)
    found = [views(body) for body in bodies]
    there = np.array([one is not None for one in found])
    marks = np.array([one.view(np.uint64) for one in found if one is not None])
    counts = count_pairs(marks, owners[there])
    print(f"\nfalse pairs among {counts.sum():,} of {there.sum()} pieces ({(~there).sum()} are too plain)")
    for threshold in (31, 48, MAX_DISTANCE, 60, 64, 72):
        told("curate", threshold, counts)
    for name, hashed, _, threshold in tried[2:]:
        bits = np.array([as_bits(hashed(body)) for body in bodies])[there]
        packed = np.packbits(bits, axis=1).view(np.uint64)[:, None]
        told(name, threshold, count_pairs(packed, owners[there]))


def count_pairs(marks: np.ndarray, owners: np.ndarray) -> np.ndarray:
    """How many pairs of pieces of different photographs are so many bits apart (257 counts)."""
    counts = np.zeros(257, np.int64)
    for at in range(len(marks) - 1):
        others = marks[at + 1 :][owners[at + 1 :] != owners[at]]
        one = np.bitwise_count(marks[at, 0] ^ others).sum(axis=2).min(axis=1)
        two = np.bitwise_count(marks[at] ^ others[:, :1]).sum(axis=2).min(axis=1)
        counts += np.bincount(np.minimum(one, two), minlength=257)
    return counts


def told(name: str, threshold: int, counts: np.ndarray) -> None:
    below = int(counts[: threshold + 1].sum())
    print(f"  {name:34} within {threshold:3} bits: {below:6} ({1e6 * below / counts.sum():.2f} in a million)")


def as_bits(found: object) -> np.ndarray:
    """A peer's hash of 64 bits."""
    digits = int(found, 16) if isinstance(found, str) else int(str(found), 16)
    return np.array([digits >> bit & 1 for bit in range(64)], np.uint8)


def cost(photos: list[Picture]) -> None:
    bodies = [encoded(photo, 90) for photo in photos]
    recipes = {
        "kept as it came": Recipe(),
        "kept, with fingerprints": Recipe(fingerprints=True),
        "encoded again": Recipe(max_side=400),
        "encoded again, with fingerprints": Recipe(max_side=400, fingerprints=True),
    }
    least = np.full((len(recipes), len(bodies)), np.inf)
    for _ in range(15):
        for at, body in enumerate(bodies):
            for row, recipe in enumerate(recipes.values()):
                begun = time.thread_time_ns()
                prepare(body, recipe)
                least[row, at] = min(least[row, at], time.thread_time_ns() - begun)
    spent = dict(zip(recipes, least.mean(axis=1), strict=True))
    print(
        f"\nCPU a decoded image ({photos[0].width} x {photos[0].height}), each image's best of 15, by turns"
    )
    for name, nanoseconds in spent.items():
        print(f"  {name:34} {nanoseconds / 1e6:.2f} ms")
    for plain in ("kept as it came", "encoded again"):
        more = spent[f"{plain.removesuffix(' as it came')}, with fingerprints"] / spent[plain] - 1
        print(f"  {plain}: fingerprints add {100 * more:.1f} %")


def planted(rows: int) -> None:
    rng = np.random.default_rng(0)
    prints = rng.integers(0, 256, (rows, VIEWS, VIEW_BYTES), dtype=np.uint8)
    copies = rng.permutation(rows)[: rows // 10].reshape(2, -1)
    errors = {
        "whole, 20 bits": (0, 20),
        "whole, 40 bits": (0, 40),
        "crop, 12 bits": (7, 12),
        "crop, 28 bits": (7, 28),
    }
    parts = np.array_split(copies, len(errors), axis=1)
    for (first, second), (view, bits) in zip(parts, errors.values(), strict=True):
        for a, b in zip(first, second, strict=True):
            spread = np.unpackbits(prints[a, view])
            spread[rng.permutation(256)[:bits]] ^= 1
            prints[b, 0] = np.packbits(spread)
    begun = time.process_time()
    later, earlier, _ = Entries.of(
        prints, np.arange(rows), np.arange(rows, dtype=np.uint64), bits_for(rows)
    ).pairs(MAX_DISTANCE)
    spent = time.process_time() - begun
    found = set(zip(later.tolist(), earlier.tolist(), strict=True))
    print(
        f"\n{rows:,} synthetic fingerprints, {copies.shape[1]:,} planted pairs: {rows / spent:,.0f} rows a CPU second"
    )
    print(
        f"  that stands for {rows * (rows - 1) / 2 / spent:,.0f} pairs a CPU second; bands of {bits_for(rows)} bits"
    )
    for name, (first, second) in zip(errors, parts, strict=True):
        pairs = [
            (max(a, b), min(a, b)) in found for a, b in zip(first.tolist(), second.tolist(), strict=True)
        ]
        print(f"  found of {name}: {100 * float(np.mean(pairs)):.1f} %")
    wanted = {(max(a, b), min(a, b)) for a, b in copies.T.tolist()}
    print(f"  pairs that were not planted: {len(found - wanted)}")
    begun = time.process_time()
    CopyIndex(prints[: rows // 2]).nearest(prints[rows // 2 :], MAX_DISTANCE)
    print(f"  index of {rows // 2:,}: {rows // 2 / (time.process_time() - begun):,.0f} look-ups a CPU second")


def peer_pairs(rows: int) -> None:
    """imagededup's own search, of as many synthetic hashes of 64 bits with as many copies, within 10 bits."""
    try:
        phash = imagededup_phash()
    except (ImportError, MachineError) as error:
        print(f"  imagededup left out: {error}")
        return
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**64, rows, dtype=np.uint64)
    first, second = rng.permutation(rows)[: rows // 10].reshape(2, -1)
    hashes[second] = hashes[first] ^ np.uint64(0b10101)
    named = {f"{number}": f"{one:016x}" for number, one in enumerate(hashes.tolist())}
    begun = time.process_time()
    found = phash(verbose=False).find_duplicates(
        encoding_map=named, max_distance_threshold=10, num_dist_workers=0
    )
    spent = time.process_time() - begun
    hit = np.mean([str(b) in found[str(a)] for a, b in zip(first.tolist(), second.tolist(), strict=True)])
    print(f"  imagededup PHash: {rows / spent:,.0f} rows a CPU second, {100 * float(hit):.1f} % found")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", type=Path)
    parser.add_argument("--peers", default="", help="a folder with imagehash and imagededup")
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--limit", type=int, default=200, help="photographs")
    asked = parser.parse_args()
    if asked.peers:
        sys.path.append(asked.peers)
    photos = [Image.open(path).convert("RGB") for path in sorted(asked.photos.glob("*.jpg"))[: asked.limit]]
    print(f"method {ours.METHOD}, version {ours.VERSION}")
    tried = methods()
    recall(photos, tried)
    for rows in (1_000, asked.rows, 10 * asked.rows):
        through_index(photos, rows)
    false_pairs(photos, tried)
    cost(photos)
    planted(asked.rows)
    peer_pairs(asked.rows // 4)  # it compares all pairs


if __name__ == "__main__":
    main()
