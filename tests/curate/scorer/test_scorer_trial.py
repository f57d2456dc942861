"""How the size of batches is found, by a clock and a memory that are made up."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from curate.errors import MachineError
from tests.curate.scored import SCORER, shape

torch = pytest.importorskip("torch")

from curate.scorer.batch_size import MOST, START, best_batch  # noqa: E402
from curate.scorer.encoder import LocalEncoder  # noqa: E402 - both import torch
from curate.scorer.model import build  # noqa: E402
from curate.scorer.scorer import Scorer  # noqa: E402


def device(saturates: int, memory: int, tried: list[int], full: str = "") -> Callable[[int], float]:
    """One that takes as long for any batch up to `saturates` images, and holds `memory` of them."""

    def seconds(size: int) -> float:
        tried.append(size)
        if size > memory:
            raise RuntimeError(full) if full else torch.OutOfMemoryError("CUDA out of memory.")
        return 0.001 * max(1.0, size / saturates)

    return seconds


@pytest.mark.parametrize(
    ("saturates", "memory", "best"),
    [(256, 10**6, 256), (300, 10**6, 512), (10**6, 10**6, MOST), (1, 10**6, START), (10**6, 200, 128),
     (10**6, 40, 32), (10**6, 1, 1), (512, 511, 256)],
)  # fmt: skip
def test_a_batch_doubles_while_that_brings_something_and_memory_suffices(
    saturates: int, memory: int, best: int
) -> None:
    tried: list[int] = []
    assert best_batch(device(saturates, memory, tried)) == best
    assert len(tried) < 9


def test_no_batch_is_tried_that_there_is_no_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert best_batch(device(10**6, 10**6, tried := []), most=300) == 256
    assert best_batch(device(10**6, 10**6, few := []), most=20) == 20
    assert max(tried + few) <= 300
    encoder = LocalEncoder(build(SCORER), 1)
    monkeypatch.setattr("curate.scorer.batch.BATCH_BYTES", 40 * 3 * encoder.framing.width**2)
    encoder.find_batch()
    assert encoder.batch == 39  # and a row that the device may look past the last one
    encoder.close()


def test_a_slow_device_is_not_kept_busy_with_trying() -> None:
    tried: list[int] = []
    assert best_batch(lambda size: tried.append(size) or 1.0) == START  # type: ignore[func-returns-value]
    assert tried == [START]


@pytest.mark.parametrize(
    "full", ["CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)",
             "GET was unable to find an engine to execute this computation"],
)  # fmt: skip
def test_memory_that_runs_out_in_other_words_is_understood(full: str) -> None:
    assert best_batch(device(10**6, 100, [], full)) == 64


def test_what_has_another_cause_is_raised() -> None:
    with pytest.raises(RuntimeError, match="an illegal memory access"):
        best_batch(device(10**6, 10, [], "CUDA error: an illegal memory access was encountered"))


def test_a_device_that_holds_not_one_image_is_no_use() -> None:
    with pytest.raises(torch.OutOfMemoryError):
        best_batch(device(10**6, 0, []))


@pytest.mark.parametrize("resizes", [False, True])
def test_an_encoder_tries_on_its_own_device(resizes: bool, caplog: pytest.LogCaptureFixture) -> None:
    encoder = LocalEncoder(build(SCORER), 1, None, resizes)

    def full(module: object, values: tuple[torch.Tensor, ...]) -> None:
        if len(values[0]) > 40:
            raise torch.OutOfMemoryError("CUDA out of memory")

    hook = encoder.model.network.visual.register_forward_pre_hook(full)
    with Scorer(encoder, 1) as scorer, caplog.at_level(logging.INFO, "curate"):
        encoder.find_batch()
        assert encoder.batch == 32
        assert "images at a time: 32 (tried 32: " in caplog.text
        assert len(scorer.embed_images([shape(n)[0] for n in range(3)])) == 3
        hook.remove()
        encoder.model.network.visual.register_forward_pre_hook(lambda *_: full(None, ([0] * 41,)))  # type: ignore[arg-type]
        with pytest.raises(MachineError, match="out of memory with a batch of one"):
            scorer.embed_images([shape(1)[0]])
