"""A compiled image tower that stops working, by a compiler that is made up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from tests.curate.scored import SCORER, shape

torch = pytest.importorskip("torch")

from torch._dynamo.exc import TorchDynamoException  # noqa: E402 - all import torch
from torch._inductor.exc import InductorError  # noqa: E402

from curate.scorer.encoder import LocalEncoder  # noqa: E402
from curate.scorer.model import build  # noqa: E402
from curate.scorer.scorer import Scorer  # noqa: E402

BODIES = [shape(number)[0] for number in range(20)]
BATCH = 4


@pytest.fixture
def encoder() -> LocalEncoder:
    return LocalEncoder(build(SCORER), 1, BATCH)


@pytest.fixture
def scorer(encoder: LocalEncoder) -> Iterator[Scorer]:
    with Scorer(encoder, 1) as opened:
        yield opened


def compiler(monkeypatch: pytest.MonkeyPatch, works: Callable[[list[int]], None]) -> list[int]:
    """In torch's place one that asks `works`; how many images each call of what it compiled got."""
    seen: list[int] = []

    def compiled(network: Callable[[Any], Any], dynamic: bool) -> Callable[[Any], Any]:
        def run(samples: Any) -> Any:
            seen.append(len(samples))
            works(seen)
            return network(samples)

        return run

    monkeypatch.setattr(torch, "compile", compiled)
    return seen


@pytest.mark.parametrize(
    "error",
    [
        TorchDynamoException("recompile limit"),
        InductorError(RuntimeError("ptxas died"), None),
        OSError("no space left on device"),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("after", [0, 3])
def test_a_compiler_that_fails_costs_nothing_but_speed(
    encoder: LocalEncoder, scorer: Scorer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
    error: Exception, after: int,
) -> None:  # fmt: skip
    def works(seen: list[int]) -> None:
        if len(seen) > after:
            raise error

    wanted, seen = scorer.embed_images(BODIES), compiler(monkeypatch, works)
    encoder.compile()
    assert np.array_equal(scorer.embed_images(BODIES), wanted)
    assert len(seen) == after + 1  # then never again
    assert [r.getMessage().partition(" (")[0] for r in caplog.records] == ["torch.compile does not work here"]


def test_a_compiled_tower_too_large_for_memory_is_halved_and_stays_compiled(
    encoder: LocalEncoder, scorer: Scorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def works(seen: list[int]) -> None:
        if seen[-1] > 2:
            raise InductorError(torch.OutOfMemoryError("CUDA out of memory"), None)

    wanted, seen = scorer.embed_images(BODIES), compiler(monkeypatch, works)
    encoder.compile()
    assert np.abs(scorer.embed_images(BODIES) - wanted).max() < 1e-5
    assert encoder.batch == 2
    assert len(seen) > len(BODIES) / 2


def test_a_torch_that_cannot_compile_does_without(
    encoder: LocalEncoder, scorer: Scorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(network: object, dynamic: bool) -> None:
        raise RuntimeError("torch.compile is not supported on this Python")

    wanted = scorer.embed_images(BODIES)
    monkeypatch.setattr(torch, "compile", refuses)
    encoder.compile()
    assert np.array_equal(scorer.embed_images(BODIES), wanted)
