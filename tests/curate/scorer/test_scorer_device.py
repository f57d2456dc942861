"""Resizing on the device: the same pixels as Pillow's, whatever the image, and the same features."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from curate.images.prepare import ImageError
from curate.scorer import batch
from curate.scorer.batch import Room, is_part, room_bytes
from curate.scorer.framing import HEAD, SPAN, Framing, frame, framed
from curate.scorer.scorer import Scorer
from tests.curate.scored import SCORER, encoded, shape

torch = pytest.importorskip("torch")

DATA = Path(__file__).parents[4] / "shared" / "data"
PHOTOGRAPHS = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp")
FRAMINGS = [
    Framing(224, 224),
    Framing(32, 32, filter="bilinear"),
    Framing(63, 33),
    Framing(48, 48, resize="longest", fill=127),
    Framing(40, 70, resize="longest", filter="bilinear"),
    Framing(31, 47, resize="squash"),
]
SIZES = [(1, 1), (1, 90), (90, 1), (2, 3), (31, 31), (64, 64), (97, 203), (203, 97), (128, 128), (500, 90)]


def noise(width: int, height: int, mode: str = "RGB", seed: int = 0) -> Image.Image:
    """What no filter can smooth."""
    shape = (height, width, 3) if mode == "RGB" else (height, width)
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, np.uint8))


def pixels_of(framed_image: bytes) -> np.ndarray:
    """What an answer's part shows."""
    width, height = HEAD.unpack_from(framed_image)[:2]
    return np.frombuffer(framed_image, np.uint8, offset=HEAD.size).reshape(height, width, 3)


def on_device(answers: Sequence[bytes], framing: Framing) -> np.ndarray:
    """The frames that the device makes of raw parts."""
    from curate.scorer.resample import layout, resample

    raw = replace(framing, raw=True)
    size = sum(map(len, answers)) + 3 * raw.longest[0]
    room = Room(len(answers), np.full(size, 255, np.uint8), raw)
    for answer in answers:
        assert is_part(answer, raw)
        room.add(answer)
    frames = resample(torch.from_numpy(room.memory), torch.from_numpy(layout(room.parts)), framing)
    return np.asarray(frames.numpy())


def check(images: Sequence[Image.Image], framing: Framing) -> int:
    """Compare what the device makes with what Pillow does; how many parts were left to the device."""
    raw = replace(framing, raw=True)
    answers = [framed(image, raw) for image in images]
    wanted = np.stack([pixels_of(framed(image, framing)) for image in images])
    assert np.array_equal(on_device(answers, framing), wanted)
    return sum(HEAD.unpack_from(answer)[:2] != (framing.width, framing.height) for answer in answers)


@pytest.mark.parametrize("framing", FRAMINGS, ids=str)
def test_images_of_odd_sizes_are_resized_to_the_same_pixels(framing: Framing) -> None:
    images = [noise(*size, seed=number) for number, size in enumerate(SIZES)]
    images += [noise(150, 100, "L"), Image.new("RGB", (80, 60), (255, 0, 9))]
    assert check(images, framing) > len(images) / 2


@pytest.mark.filterwarnings("ignore:Palette images with Transparency")
@pytest.mark.skipif(not DATA.is_dir(), reason="needs ../shared/data")
@pytest.mark.parametrize("number", range(4))
def test_real_images_are_resized_to_the_same_pixels(number: int) -> None:
    framing = FRAMINGS[number]
    raw, answers, wanted = replace(framing, raw=True), [], []
    paths = sorted(path for path in DATA.rglob("*") if path.suffix.lower() in PHOTOGRAPHS)
    for path in paths[number % 3 :: 3]:  # each image by one framing or two
        try:
            answers.append(frame(path.read_bytes(), raw))
        except ImageError:
            continue
        wanted.append(pixels_of(frame(path.read_bytes(), framing)))
    assert len(answers) > 100
    assert np.array_equal(on_device(answers, framing), np.stack(wanted))


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGBA", "P", "LA"])
@pytest.mark.parametrize("framing", FRAMINGS[2:4], ids=str)
def test_images_of_any_mode_are_resized_to_the_same_pixels(mode: str, framing: Framing) -> None:
    assert check([noise(120, 77).convert(mode), noise(40, 90).convert(mode)], framing) == 2


@pytest.mark.parametrize(
    ("framing", "box"), [(Framing(224, 224), (80, 0, 400, 320)), (Framing(96, 64), (0, 0, 480, 320))], ids=str
)
def test_the_device_does_what_pillow_does_in_one_call(framing: Framing, box: tuple[int, ...]) -> None:
    """Pillow up to 12, and later ones unless an image is high, take x first."""
    image = noise(480, 320)
    found = on_device([framed(image, replace(framing, raw=True))], framing)[0]
    plain = image.resize((framing.width, framing.height), Image.Resampling.BICUBIC, box)
    assert np.abs(found - np.asarray(plain).astype(np.float32)).max() <= 1


def test_nothing_is_rounded_on_the_way_even_with_11_bits() -> None:
    from curate.scorer.resample import _taps, layout

    raw = Framing(64, 64, raw=True)
    room = Room(3, np.empty(10**6, np.uint8), raw)
    for size in ((200, 130), (67, 255), (9, 7)):
        room.add(framed(noise(*size), raw))
    table = torch.from_numpy(layout(room.parts))
    taps = _taps(table, table, 0, raw)
    for weights in (taps.coarse, taps.fine):
        assert weights.abs().max() > 0
        assert not (weights.view(torch.int32) & 0x1FFF).any()  # TF32 drops these 13 bits
    assert (taps.coarse.double() + taps.fine.double()).sum(2) == pytest.approx(1, abs=1e-5)


def test_what_would_be_large_is_resized_before_it_is_handed_over() -> None:
    raw = Framing(32, 32, raw=True)
    most = int(SPAN * 32)
    assert HEAD.unpack_from(framed(noise(most, most), raw))[:2] == (most, most)
    for image in (noise(most + 1, most + 1), noise(2000, 1500)):
        assert HEAD.unpack_from(framed(image, raw))[:2] == (32, 32)
    strip = framed(noise(3000, 40), replace(raw, resize="squash"))
    assert HEAD.unpack_from(strip)[:2] == (32, 32)
    assert len(framed(noise(3000, 40), raw)) < 3 * 45 * 55  # of a long strip only what the crop keeps


@pytest.mark.parametrize(
    "change",
    [
        {0: 200}, {0: 0}, {2: -1.0}, {2: float("nan")}, {4: 61.0}, {4: float("inf")}, {2: 50.0, 4: 50.0},
        {6: 32, 8: 32}, {8: 33}, {6: 31}, {7: 20, 9: 10},
    ],
)  # fmt: skip
def test_a_child_that_was_taken_over_cannot_hand_over_nonsense(change: dict[int, float]) -> None:
    raw = Framing(32, 32, raw=True)
    good = framed(noise(60, 50), raw)
    assert is_part(good, raw)
    assert not is_part(good[:-1], raw)
    assert not is_part(b"", raw)
    assert not is_part(good, replace(raw, raw=False))
    head = [change.get(number, value) for number, value in enumerate(HEAD.unpack_from(good))]
    assert not is_part(HEAD.pack(*head) + good[HEAD.size :], raw)


def test_an_answer_too_large_for_its_framing_is_refused() -> None:
    raw = Framing(32, 32, raw=True)
    part = HEAD.pack(600, 600, 0, 0, 600, 600, 0, 0, 32, 32) + bytes(3 * 600 * 600)
    assert not is_part(part, raw)


def scorers() -> tuple[Scorer, Scorer]:
    """Two of the same model: Pillow resizes for the one, torch for the other."""
    from curate.scorer.encoder import LocalEncoder
    from curate.scorer.model import build

    model = build(SCORER)
    return tuple(Scorer(LocalEncoder(model, 1, 8, resizes=how), 1) for how in (False, True))  # type: ignore[return-value]


def test_nonsense_from_a_child_costs_its_image_alone() -> None:
    from concurrent.futures import Future

    from curate.children.pool import Outcome

    said: Future[Outcome] = Future()
    said.set_result(Outcome(b"nonsense"))
    for scorer in scorers():
        with scorer, pytest.MonkeyPatch.context() as patch:
            patch.setattr(scorer._children, "submit", lambda _: said)
            assert scorer.score([b"an image", None], ["a", "b"]).failed == {"crashed": 1}
            with pytest.raises(ValueError, match="image 0 is crashed: its answer is not a framed image"):
                scorer.embed_images([b"an image"])


def bodies() -> list[bytes]:
    kinds = [encoded(noise(120, 80, seed=n), kind) for n, kind in enumerate(("JPEG", "PNG", "WEBP"))]
    kinds += [encoded(noise(90, 90).convert(mode)) for mode in ("L", "CMYK")]
    kinds += [
        encoded(noise(70, 99).convert("RGBA"), "PNG"),
        encoded(noise(3000, 20)),
        encoded(noise(900, 700)),
    ]
    return kinds + [shape(number)[0] for number in range(12)]


def test_features_are_the_same_to_the_bit_wherever_images_are_resized(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here, there = scorers()
    monkeypatch.setattr(batch, "BATCH_BYTES", 100_000)  # so that bytes end batches, too
    with here, there:
        assert there.framing.raw
        assert here.identity.same(there.identity)
        images = [*bodies(), b"nothing", bodies()[0][:300]]
        texts: list[str | None] = [None] * len(images)
        one, other = here.score(images, texts), there.score(images, texts)
        assert one.failed == other.failed == {"not_an_image": 1, "damaged": 1}
        assert one.features.equals(other.features)
        opened = Image.open(io.BytesIO(bodies()[1]))
        assert np.array_equal(*(scorer.embed_images([opened]) for scorer in (here, there)))


def test_a_batch_to_be_resized_that_is_too_large_for_memory_is_halved() -> None:
    here, there = scorers()
    with here, there:
        wanted = here.embed_images(bodies())

        def full(module: object, values: tuple[torch.Tensor, ...]) -> None:
            if len(values[0]) > 3:
                raise torch.OutOfMemoryError("CUDA out of memory")

        there.encoder.model.network.visual.register_forward_pre_hook(full)  # type: ignore[attr-defined]
        assert np.abs(there.embed_images(bodies()) - wanted).max() < 1e-5
        assert there.encoder.batch <= 3


def test_a_room_takes_as_many_as_fit() -> None:
    raw = Framing(32, 32, raw=True)
    part = framed(noise(60, 60), raw)
    room = Room(50, np.empty(3 * 60 * 60 * 3 + 3 * raw.longest[0], np.uint8), raw)
    for _ in range(3):
        assert room.takes(part)
        room.add(part)
    assert not room.takes(part)
    assert len(room.pixels) == 3 * 60 * 60 * 3
    assert room_bytes(raw, 10**6) == batch.BATCH_BYTES
    assert room_bytes(replace(raw, raw=False), 2) < 2 * 32 * 32 * 3 + 300
