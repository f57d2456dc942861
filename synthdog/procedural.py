"""Generate pictures of backgrounds and papers from seeds: free of any licence, and the same on every machine.

A name such as `wood-07` is a kind and a seed. Pictures are BGR, 8 bit.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

Maker = Callable[[np.random.Generator], np.ndarray]

SIZE = (384, 384)  # height, width (px)
VARIANTS = 12  # of each kind


def names(kind: str) -> list[str]:
    """The pictures of a kind: `background` or `paper`."""
    return [f"{maker}-{number:02d}" for maker in MAKERS[kind] for number in range(VARIANTS)]


def picture(name: str) -> np.ndarray:
    """The picture of that name (height, width, 3)."""
    maker, _, number = name.rpartition("-")
    kinds = list(BACKGROUNDS) + list(PAPERS)
    rng = np.random.default_rng([kinds.index(maker), int(number)])
    made = (BACKGROUNDS | PAPERS)[maker](rng)
    return np.ascontiguousarray(np.clip(made, 0, 255).astype(np.uint8))


def _wood(rng: np.random.Generator) -> np.ndarray:
    """Planks with a stretched grain."""
    height, width = SIZE
    grain = _clouds(rng, (2, 48)) * 0.6 + _clouds(rng, (3, 160)) * 0.4
    rings = 0.5 + 0.5 * np.sin(grain * rng.uniform(15, 40) + _clouds(rng, (2, 3)) * 6)
    tone = 0.55 * rings + 0.45 * _clouds(rng, (4, 256))
    planks = int(rng.integers(1, 7))
    edges = np.ones((height, 1), int) * (np.arange(width) * planks // width)
    tone = tone + rng.normal(0, 0.12, planks)[edges]
    wood = _ramp(tone, (25, 50, 90), (110, 165, 215), rng)
    wood[:, np.flatnonzero(np.diff(edges[0]))] *= 0.45
    return wood if rng.random() < 0.5 else wood.transpose(1, 0, 2)


def _cloth(rng: np.random.Generator) -> np.ndarray:
    """A weave under folds."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    pitch = rng.uniform(3, 9)
    weave = np.sin(2 * np.pi * x / pitch) * np.sin(2 * np.pi * y / pitch)
    tone = 0.5 + 0.12 * weave + 0.5 * (_clouds(rng, (4, 4)) - 0.5) + 0.12 * (_clouds(rng, (200, 200)) - 0.5)
    return _ramp(tone, _muted(rng, 10, 110), _muted(rng, 90, 250), rng)


def _stone(rng: np.random.Generator) -> np.ndarray:
    """Marble or concrete: clouds of all sizes, some veined."""
    tone = _octaves(rng, 3, 1.6)
    tone = (tone - tone.min()) / np.ptp(tone)
    if rng.random() < 0.5:
        tone = 0.7 * tone + 0.3 * np.abs(np.sin(tone * rng.uniform(8, 20)))
    gray = int(rng.integers(40, 140))
    return _ramp(tone, (gray, gray, gray), (gray + 90, gray + 95, gray + 100), rng)


def _lights(rng: np.random.Generator) -> np.ndarray:
    """A room out of focus: broad colours and discs of light."""
    scene = _ramp(_clouds(rng, (3, 3)), _muted(rng, 0, 90), _muted(rng, 60, 200), rng)
    for _ in range(int(rng.integers(8, 60))):
        radius, (left, top) = int(rng.integers(5, 36)), rng.integers(0, SIZE[0], 2)
        disc = np.zeros((2 * radius, 2 * radius), np.uint8)
        cv2.circle(disc, (radius, radius), radius - 1, int(rng.integers(25, 180)), -1, cv2.LINE_AA)
        part = scene[top : top + 2 * radius, left : left + 2 * radius]
        part += disc[: part.shape[0], : part.shape[1], None] / 255 * _muted(rng, 60, 256)
    return scene


def _desk(rng: np.random.Generator) -> np.ndarray:
    """A surface with things lying on it: cards, books, cups and their shadows."""
    scene = [_wood, _cloth, _stone][int(rng.integers(3))](rng)
    scene = np.ascontiguousarray(np.clip(scene, 0, 255), np.float32)
    for _ in range(int(rng.integers(2, 9))):
        middle = rng.uniform(0, SIZE[0], 2)
        corners = cv2.boxPoints((tuple(middle), tuple(rng.uniform(40, 260, 2)), float(rng.uniform(0, 180))))
        if rng.random() < 0.3:
            radius = float(rng.uniform(20, 80))
            corners = cv2.ellipse2Poly(tuple(middle.astype(int)), (int(radius), int(radius)), 0, 0, 360, 10)
        shade = np.zeros(SIZE, np.float32)
        cv2.fillPoly(shade, [np.int32(corners + rng.uniform(2, 12, 2))], 1.0)
        scene *= 1 - 0.5 * cv2.GaussianBlur(shade, (0, 0), 6)[..., None]
        cv2.fillPoly(scene, [np.int32(corners)], _muted(rng, 20, 245).tolist(), cv2.LINE_AA)
    return scene + 14 * (_clouds(rng, (300, 300)) - 0.5)[..., None]


def _slope(rng: np.random.Generator) -> np.ndarray:
    """A plain wall in uneven light."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]] / SIZE[0]
    angle = rng.uniform(0, 2 * np.pi)
    tone = (
        0.5 + 0.5 * (np.cos(angle) * (x - 0.5) + np.sin(angle) * (y - 0.5)) + 0.06 * _clouds(rng, (250, 250))
    )
    return _ramp(tone, _muted(rng, 20, 160), _muted(rng, 80, 256), rng)


def _fibre(rng: np.random.Generator) -> np.ndarray:
    """Uncoated paper: fine grain and stray fibres."""
    sheet = 205 + 45 * _clouds(rng, (220, 220)) - 25 * _clouds(rng, (8, 8))
    sheet = np.ascontiguousarray(sheet, np.float32)
    for _ in range(int(rng.integers(60, 400))):
        at, turn = rng.uniform(0, SIZE[0], 2), rng.uniform(0, np.pi)
        step = 12 * np.array([np.cos(turn), np.sin(turn)]) * rng.uniform(0.2, 1)
        tone = float(rng.uniform(140, 255))
        cv2.line(sheet, tuple(at.astype(int)), tuple((at + step).astype(int)), tone, 1, cv2.LINE_AA)
    return _tinted(sheet, rng)


def _parchment(rng: np.random.Generator) -> np.ndarray:
    """Old paper: stains, darker towards the edges."""
    y, x = np.abs(np.mgrid[-1 : 1 : SIZE[0] * 1j, -1 : 1 : SIZE[1] * 1j])
    edges = np.maximum(x, y) ** 6
    stains = _octaves(rng, 4, 1.5)
    return _tinted(250 - 32 * stains - rng.uniform(20, 80) * edges, rng, warm=1.0)


def _creased(rng: np.random.Generator) -> np.ndarray:
    """Paper that was crumpled: flat facets, each in a light of its own."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    sheet = np.full(SIZE, 225.0)
    for _ in range(int(rng.integers(6, 26))):
        turn, at = rng.uniform(0, np.pi), rng.uniform(0, SIZE[0], 2)
        away = (x - at[0]) * np.cos(turn) + (y - at[1]) * np.sin(turn)
        reach = np.clip(1 - np.abs(away) / rng.uniform(30, 160), 0, 1)
        sheet += rng.uniform(4, 26) * np.sign(away) * reach
    return _tinted(sheet + 12 * (_clouds(rng, (256, 256)) - 0.5), rng)


def _clouds(rng: np.random.Generator, cells: tuple[int, int]) -> np.ndarray:
    """Smooth noise from 0 to 1 (SIZE), interpolated from `cells` random values (down, across)."""
    coarse = rng.random(cells, np.float32)
    return np.asarray(np.clip(cv2.resize(coarse, SIZE[::-1], interpolation=cv2.INTER_CUBIC), 0, 1))


def _octaves(rng: np.random.Generator, cells: int, fade: float) -> np.ndarray:
    """The sum of six clouds (SIZE); each has twice the cells of the one before, and is `fade` times fainter."""
    return np.asarray(sum(_clouds(rng, (cells << k, cells << k)) / fade**k for k in range(6)))


def _muted(rng: np.random.Generator, low: int, high: int) -> np.ndarray:
    """A random colour (BGR) with channels between two levels, moved halfway to gray, as most things are grayish."""
    colour = rng.uniform(low, high, 3)
    return np.asarray(colour.mean() + 0.5 * (colour - colour.mean()))


def _ramp(tone: np.ndarray, dark: object, light: object, rng: np.random.Generator) -> np.ndarray:
    """Tones from 0 to 1 as colours between `dark` and `light` (BGR), both of which are changed a little at random."""
    low, high = (np.asarray(colour, np.float32) + rng.normal(0, 14, 3) for colour in (dark, light))
    return np.asarray(low + np.clip(tone, 0, 1)[..., None] * (high - low))


def _tinted(sheet: np.ndarray, rng: np.random.Generator, warm: float = 0.3) -> np.ndarray:
    """A gray sheet as BGR, yellowed by a random amount up to `warm`."""
    yellow = warm * rng.uniform(0, 1)
    return np.asarray(sheet[..., None] * np.array([1 - 0.28 * yellow, 1 - 0.1 * yellow, 1.0]))


BACKGROUNDS: dict[str, Maker] = {
    "wood": _wood,
    "cloth": _cloth,
    "stone": _stone,
    "lights": _lights,
    "desk": _desk,
    "slope": _slope,
}
PAPERS: dict[str, Maker] = {"fibre": _fibre, "parchment": _parchment, "creased": _creased}
MAKERS = {"background": BACKGROUNDS, "paper": PAPERS}
