from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from curate.errors import MachineError, ManifestError
from curate.manifest.settings import ScorerSettings
from curate.scorer import open_scorer
from curate.scorer.batch import Room
from curate.scorer.scorer import Pairs, Scorer
from curate.scorer.weights import OneWarning, open_clip_module
from curate.scorer.zero_shot import zero_shot
from tests.curate.runs import ROOT
from tests.curate.scored import HELD_OUT, SCORER, cosines, encoded, plain_features, shape
from tests.models.train_shapes import COLOURS, SHAPES, caption, draw, picture

torch = pytest.importorskip("torch")

from curate.scorer.encoder import LocalEncoder  # noqa: E402 - both import torch
from curate.scorer.model import build  # noqa: E402

PICTURES = 60


@pytest.fixture(scope="module")
def scorer() -> Iterator[Scorer]:
    with open_scorer(SCORER, cores=1) as opened:
        yield opened


@pytest.fixture(scope="module")
def exact() -> Iterator[Scorer]:
    settings = ScorerSettings(model=SCORER.model, device="cpu", exact=True)
    with open_scorer(settings, cores=1) as opened:
        yield opened


def photo(number: int, width: int, height: int, kind: str = "JPEG") -> bytes:
    """A picture with fine detail."""
    rng = np.random.default_rng(number)
    coarse = Image.fromarray(rng.integers(0, 255, (9, 12, 3), np.uint8)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    noise = rng.normal(0, 12, (height, width, 3))
    return encoded(Image.fromarray(np.clip(np.asarray(coarse) + noise, 0, 255).astype(np.uint8)), kind)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_right_captions_score_above_wrong_ones_on_pictures_held_out(scorer: Scorer, language: str) -> None:
    rng = np.random.default_rng(HELD_OUT)
    shown = [draw(rng) for _ in range(PICTURES)]
    images = scorer.embed_images([encoded(picture(rng, *one, side=128)) for one in shown])
    right = scorer.embed_texts([caption(rng, *one, language=language) for one in shown])

    def beaten_by_right(others: list[tuple[str, str, str]]) -> float:
        wrong = scorer.embed_texts([caption(rng, *one, language=language) for one in others])
        return float((cosines(images, right) > cosines(images, wrong)).mean())

    def another(names: dict[str, object], *but: str) -> str:
        return str(rng.choice([name for name in names if name not in but]))

    assert beaten_by_right([(s, another({**COLOURS}, c, g), g) for s, c, g in shown]) > 0.95
    assert beaten_by_right([(another({**SHAPES}, s), c, g) for s, c, g in shown]) > 0.85


def test_exact_features_and_scores_are_those_of_a_plain_open_clip_loop(exact: Scorer) -> None:
    bodies = [
        photo(n, *size) for n, size in enumerate([(64, 64), (300, 200), (199, 401), (31, 77), (640, 480)])
    ]
    bodies += [photo(7, 90, 120, "PNG"), photo(8, 150, 100, "WEBP"), encoded(Image.new("L", (50, 70), 99))]
    texts = [shape(n, language="zh" if n % 2 else "en")[1] for n in range(len(bodies))]
    images, said = plain_features(bodies, texts)
    assert cosines(exact.embed_images(bodies), images).min() >= 0.9999
    assert cosines(exact.embed_texts(texts), said).min() >= 0.9999
    scores = exact.score(bodies, texts).scores.to_numpy()
    assert np.abs(scores - cosines(images, said)).max() < 1e-5


def test_shrinking_while_decoding_stays_within_its_bound(scorer: Scorer, exact: Scorer) -> None:
    bodies = [
        photo(n, *size) for n, size in enumerate([(640, 480), (512, 512), (333, 500), (1200, 900), (70, 60)])
    ]
    assert cosines(scorer.embed_images(bodies), exact.embed_images(bodies)).min() >= 0.999


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_stays_within_its_bound(scorer: Scorer, precision: str) -> None:
    bodies, texts = zip(*(shape(n) for n in range(20)), strict=True)
    with open_scorer(ScorerSettings(model=SCORER.model, device="cpu", precision=precision), cores=1) as half:  # type: ignore[arg-type]
        assert half.identity.precision == precision
        assert cosines(half.embed_images(bodies), scorer.embed_images(bodies)).min() >= 0.999
        assert cosines(half.embed_texts(texts), scorer.embed_texts(texts)).min() >= 0.999


def test_a_row_without_image_or_text_has_no_score_and_a_damaged_image_is_counted(scorer: Scorer) -> None:
    (good, text), whole = shape(1), shape(2)[0]
    images = [good, None, good, good, whole[: len(whole) // 2], b"", b"<html>", good]
    texts = [text, text, None, "", text, text, text, text]
    scored = scorer.score(images, texts)
    assert scored.scores.is_valid().to_pylist() == [True, False, False, False, False, False, False, True]
    assert scored.features.is_valid().to_pylist() == [True, False, True, True, False, False, False, True]
    assert scored.failed == {"damaged": 1, "not_an_image": 2}
    assert scored.scores[0] == scored.scores[7]
    lengths = np.linalg.norm(
        scored.features.drop_null().flatten().to_numpy().reshape(4, -1).astype(float), axis=1
    )
    assert lengths == pytest.approx(1, abs=1e-3)


def test_a_table_without_rows_or_without_anything_to_score_is_scored(scorer: Scorer) -> None:
    assert len(scorer.score([], []).scores) == 0
    scored = scorer.score([None, None], [None, "a red circle"])
    assert scored.scores.null_count == scored.features.null_count == 2
    assert scored.failed == {}


def test_equal_images_and_texts_are_embedded_once(scorer: Scorer) -> None:
    (image, text), (other, _) = shape(1), shape(2)
    seen: list[int] = []
    hook = scorer.encoder.model.network.visual.register_forward_hook(lambda m, a, out: seen.append(len(a[0])))  # type: ignore[attr-defined]
    try:
        scored = scorer.score([image, other, image, image, other], [text] * 5)
    finally:
        hook.remove()
    assert sum(seen) == 2
    assert scored.features[0] == scored.features[2] == scored.features[3]


def test_tables_scored_together_get_what_each_gets_alone(scorer: Scorer) -> None:
    tables = [[shape(n) for n in range(first, first + 9)] for first in (0, 9, 18)]
    together = list(scorer.score_all(Pairs([i for i, _ in one], [t for _, t in one]) for one in tables))
    for one, found in zip(tables, together, strict=True):
        assert scorer.score([i for i, _ in one], [t for _, t in one]).scores.equals(found.scores)


def test_the_next_tables_batches_begin_before_the_last_of_this_one_is_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Scorer(LocalEncoder(build(SCORER), 2, 8), 2) as two:
        begin, said = two.encoder.images, []

        def images(room: Room) -> Callable[[], np.ndarray]:
            waiter = begin(room)
            said.append(1)
            return lambda: said.append(-1) or waiter()  # type: ignore[func-returns-value]

        monkeypatch.setattr(two.encoder, "images", images)
        list(
            two.score_all(Pairs([shape(n)[0] for n in range(3 * t, 3 * t + 3)], ["a"] * 3) for t in range(4))
        )
    assert said[:3] == [1, 1, -1]
    assert max(np.cumsum(said)) == two.encoder.in_flight == 2


def test_a_text_longer_than_the_context_is_cut_off_and_scored(scorer: Scorer) -> None:
    start = "a red circle on a blue ground " * 4
    features = scorer.embed_texts([start, start + "a green star " * 50_000, start.strip()])
    assert cosines(features[:1], features[1:2]) == pytest.approx(1, abs=1e-5)
    assert np.isfinite(features).all()


def test_short_texts_get_the_same_feature_whatever_they_are_batched_with(scorer: Scorer) -> None:
    alone = scorer.embed_texts(["a red star"])
    among = scorer.embed_texts(["a red star", "the picture shows a red star on a white ground"])
    assert cosines(alone, among[:1])[0] > 0.999999


def test_a_batch_too_large_for_memory_is_halved_and_so_are_those_that_follow(scorer: Scorer) -> None:
    bodies = [shape(n)[0] for n in range(20)]
    before = scorer.embed_images(bodies)

    def full(module: object, values: tuple[torch.Tensor, ...]) -> None:
        if len(values[0]) > 6:
            raise torch.OutOfMemoryError("CUDA out of memory")

    hook = scorer.encoder.model.network.visual.register_forward_pre_hook(full)  # type: ignore[attr-defined]
    batch = scorer.encoder.batch
    try:
        assert cosines(scorer.embed_images(bodies), before).min() > 0.99999
        assert scorer.encoder.batch <= 6
    finally:
        hook.remove()
        scorer.encoder.batch = batch


def test_a_single_image_too_large_for_memory_says_so(scorer: Scorer) -> None:
    def full(module: object, values: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    hook, batch = scorer.encoder.model.network.visual.register_forward_pre_hook(full), scorer.encoder.batch  # type: ignore[attr-defined]
    try:
        with pytest.raises(MachineError, match="out of memory"):
            scorer.embed_images([shape(1)[0]])
    finally:
        hook.remove()
        scorer.encoder.batch = batch


def test_pillow_images_embed_like_their_encoded_selves(exact: Scorer) -> None:
    body = photo(3, 130, 90, "PNG")
    both = exact.embed_images([body, Image.open(io.BytesIO(body))])
    assert np.array_equal(both[0], both[1])
    with pytest.raises(ValueError, match="image 1 is not_an_image"):
        exact.embed_images([body, b"nothing"])


def test_zero_shot_tells_what_words_name(scorer: Scorer) -> None:
    rng = np.random.default_rng(HELD_OUT + 1)
    shown = [("circle", "red", "white"), ("circle", "blue", "white")] * 5
    scored = scorer.score([encoded(picture(rng, *one)) for one in shown] + [None], [None] * 11)
    red = zero_shot(
        scored.features, scorer, "a red circle on a white ground", "a blue circle on a white ground"
    )
    assert red.type == pa.float32()
    assert red[10].as_py() is None
    assert (
        min(red[n].as_py() for n in range(0, 10, 2))
        > 0.9
        > 0.1
        > max(red[n].as_py() for n in range(1, 10, 2))
    )


def test_importing_the_package_imports_no_torch() -> None:
    code = "import curate.scorer, curate.scoring.command, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def damaged(folder: Path, change: object) -> Path:
    """The model with a file of its changed."""
    folder.mkdir()
    for path in Path(SCORER.model).iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    weights = folder / "open_clip_model.safetensors"
    body = weights.read_bytes()
    weights.write_bytes(
        body[:1000] if change == "cut" else body[:8] + b"\xff" * 64 + body[72:] if change == "header" else b""
    )
    return folder


@pytest.mark.parametrize("change", ["cut", "header", "empty"])
def test_damaged_weights_stop_with_one_line(tmp_path: Path, change: str) -> None:
    with pytest.raises(MachineError, match=r"cannot load .*get the file again") as caught:
        open_scorer(ScorerSettings(model=str(damaged(tmp_path / "m", change)), device="cpu"))
    assert "\n" not in str(caught.value)


def test_weights_of_another_model_stop_with_one_line() -> None:
    weights = str(next(Path(SCORER.model).glob("*.safetensors")))
    with pytest.raises(MachineError, match="cannot load"):
        open_scorer(ScorerSettings(model="ViT-B-32", pretrained=weights, device="cpu"))


def test_weights_that_would_run_code_do_not(tmp_path: Path) -> None:
    model = damaged(tmp_path / "m", "empty")
    (model / "open_clip_model.safetensors").unlink()

    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path(tmp_path / "ran").touch, ())

    torch.save({"state_dict": {"x": Evil()}}, model / "weights.pt")
    with pytest.raises(MachineError, match="cannot load"):
        open_scorer(ScorerSettings(model=str(model), device="cpu"))
    assert not (tmp_path / "ran").exists()


def test_weights_that_are_not_numbers_stop_with_one_line(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    model = damaged(tmp_path / "m", "empty")
    weights = load_file(next(Path(SCORER.model).glob("*.safetensors")))
    weights["visual.proj"] = torch.full_like(weights["visual.proj"], float("nan"))
    save_file(weights, model / "open_clip_model.safetensors")
    with pytest.raises(MachineError, match="no numbers"):
        open_scorer(ScorerSettings(model=str(model), device="cpu"))


def test_safe_pt_weights_load(tmp_path: Path, scorer: Scorer) -> None:
    from safetensors.torch import load_file

    torch.save(load_file(next(Path(SCORER.model).glob("*.safetensors"))), tmp_path / "weights.pt")
    settings = ScorerSettings(model=SCORER.model, pretrained=str(tmp_path / "weights.pt"), device="cpu")
    with open_scorer(settings, cores=1) as other:
        assert np.array_equal(other.embed_texts(["a red star"]), scorer.embed_texts(["a red star"]))
        assert not other.identity.same(scorer.identity)  # the same numbers in another file: not known to be


@pytest.mark.parametrize(
    ("settings", "error", "says"),
    [
        ({"model": "ViT-L14", "pretrained": "openai"}, ManifestError, "did you mean 'ViT-L-14'"),
        ({"model": "ViT-L-14", "pretrained": "opnai"}, ManifestError, "did you mean 'openai'"),
        ({"model": "ViT-L-14"}, ManifestError, "give a tag"),
        ({"model": "ViT-L-14", "pretrained": "gone/weights.safetensors"}, ManifestError, "no weights file"),
        ({"model": "local-dir:docs"}, ManifestError, "holds no open_clip_config.json"),
        ({"model": "ViT-B-32", "device": "tpu9"}, ManifestError, "no device 'tpu9'"),
    ],
)
def test_a_wrong_name_is_refused_with_the_nearest(
    settings: dict[str, str], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        open_scorer(ScorerSettings(**({"device": "cpu"} | settings)))  # type: ignore[arg-type]


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there_is_missed() -> None:
    with pytest.raises(MachineError, match="0 usable GPUs; --device cpu") as caught:
        open_scorer(ScorerSettings(model=SCORER.model, device="cuda"))
    assert caught.value.exit_code == 3


def test_a_tag_that_cannot_be_downloaded_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(
        MachineError, match=r"cannot get ViT-B-32 laion2b_s34b_b79k.*--pretrained PATH"
    ) as caught:
        open_scorer(ScorerSettings(model="ViT-B-32", pretrained="laion2b_s34b_b79k", device="cpu"))
    assert "\n" not in str(caught.value)


def test_what_the_hubs_client_says_of_each_attempt_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    open_clip_module()
    client = logging.getLogger("huggingface_hub.utils._http")
    (ours,) = (one for one in client.filters if isinstance(one, OneWarning))
    client.removeFilter(ours)
    client.addFilter(again := OneWarning())
    try:
        for _ in range(3):
            client.warning("thrown while requesting HEAD")
    finally:
        client.removeFilter(again)
        client.addFilter(ours)
    assert [record.getMessage() for record in caplog.records] == [
        "the hub does not answer: trying again for up to a minute"
    ]


def test_the_identity_survives_its_plain_form(scorer: Scorer) -> None:
    from curate.scorer.identity import from_plain

    assert from_plain(json.loads(json.dumps(scorer.identity.plain()))) == scorer.identity
    assert scorer.identity.dimension == 64
