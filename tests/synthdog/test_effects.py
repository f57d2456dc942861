"""Our painting against synthtiger's own, on the same draws."""

from __future__ import annotations

import numpy as np
import pytest

from synthdog import compat, effects, geometry, settings
from synthdog.draws import Sampler, Strengths


@pytest.fixture(scope="module")
def tiger():
    return compat.synthtiger()


@pytest.fixture(scope="module")
def picture():
    rng = np.random.default_rng(2)
    coarse = rng.integers(0, 256, (12, 16, 3), np.uint8)
    return np.ascontiguousarray(coarse.repeat(20, axis=0).repeat(20, axis=1))


def theirs(tiger, component, draw, picture):
    layer = tiger.layers.Layer(picture[..., ::-1].astype(np.float32))
    with compat.legacy():
        component.apply([layer], draw)
    return layer.image[..., 2::-1]


@pytest.mark.parametrize(
    ("name", "kind", "mine"),
    [
        ("color", "RGB", effects.tinted),
        ("shadow", "Shadow", effects.shaded),
        ("blur", "GaussianBlur", lambda image, draw: effects.blurred(image, draw["sigma"])),
        ("contrast", "Contrast", lambda image, draw: effects.toned(image, draw, None)),
        ("brightness", "Brightness", lambda image, draw: effects.toned(image, None, draw)),
    ],
)
def test_our_effects_look_like_synthtigers(tiger, picture, name, kind, mine):
    always = {"color": {"prob": 1}, "blur": {"sigma": [1, 4]}}
    sampler = Sampler(settings.load({"effect": always}, "en"))
    for seed in range(6):
        draw = getattr(sampler.strengths([seed]), name)
        wanted = theirs(tiger, getattr(tiger.components, kind)(), draw, picture)
        assert np.abs(mine(picture, draw) - wanted).mean() < 1.5, draw


def test_motion_blur_is_imgaugs_up_to_its_fade(tiger, picture):
    draw = {"k": 9, "angle": 30.0}
    wanted = [theirs(tiger, tiger.components.MotionBlur(), draw, picture).mean(axis=2) for _ in range(12)]
    mine = [
        effects.finished(picture, strengths(motion_blur=draw), fade).mean(axis=2)
        for fade in (0.0, 0.25, 0.5, 0.75, 1.0)
    ]
    for image in wanted:
        assert min(np.abs(image - own).mean() for own in mine) < 2.5


def test_ink_is_carried_where_the_blur_says():
    dot = np.zeros((61, 61, 3), np.uint8)
    dot[26:35, 26:35] = 255  # of variance (9² - 1) / 12
    for fade, angle in ((0.0, 20.0), (0.8, 200.0), (0.5, 75.0)):
        drawn = strengths(motion_blur={"k": 9, "angle": angle}, blur={"sigma": 2})
        shift, spread = effects.carried(drawn, fade)
        ink = effects.finished(dot, drawn, fade)[..., 0].astype(float)
        y, x = np.indices(ink.shape)
        places = np.stack([x - 30, y - 30], axis=2)
        mean = (ink[..., None] * places).sum(axis=(0, 1)) / ink.sum()
        assert np.abs(mean - shift).max() < 0.35
        variance = (ink[..., None] * (places - mean) ** 2).sum(axis=(0, 1)) / ink.sum()
        assert np.abs(variance - 80 / 12 - np.diag(spread)).max() < 1.5


def test_noise_has_the_deviation_that_was_drawn():
    grain = effects.noise((300, 300), {"scale": 8.0, "per_channel": False}, np.random.default_rng(0))
    assert grain.shape == (300, 300)
    assert abs(grain.std() - 8) < 0.3
    assert abs(grain.mean()) < 0.1
    colourful = effects.noise((30, 30), {"scale": 8.0, "per_channel": True}, np.random.default_rng(0))
    assert colourful.shape == (30, 30, 3)


def test_no_draw_changes_nothing(picture):
    assert np.array_equal(effects.finished(picture, strengths(), 0.3), picture)


def test_perspective_is_synthtigers(tiger):
    draw = {"percents": (0.8, 0.9, 0.75, 1.0), "aligns": (0.3, -0.8, 1.0, 0.5), "pxs": None}
    layer = tiger.layers.RectLayer((300, 200), (0, 0, 0, 255))
    tiger.components.Perspective(percents=[[1, 1]] * 4).apply([layer], draw)
    mine = geometry.through(geometry.perspective(300, 200, draw), geometry.rectangle(300, 200))
    assert np.allclose(mine, layer.quad, atol=0.05)


def test_rotation_is_synthtigers(tiger):
    layer = tiger.layers.RectLayer((300, 200), (0, 0, 0, 255))
    tiger.components.Rotate(angle=(12, 12)).apply([layer])
    mine = geometry.through(geometry.rotation(np.array([150, 100]), 12), geometry.rectangle(300, 200))
    assert np.allclose(mine, layer.quad, atol=0.05)


def strengths(**draws):
    return Strengths(**{name: draws.get(name) for name in Strengths.__dataclass_fields__})
