"""Who scores shards: this process, or Ray tasks, with actors that each hold a model.

Without a GPU that is this process, whose child processes decode on all cores. With one, a process alone could
not hand it images fast enough: tasks on all cores decode for it.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from curate.manifest.settings import ScorerSettings
from curate.scorer import open_scorer
from curate.scoring.in_process import ScoringInProcess, ScoringRunner

if TYPE_CHECKING:
    from curate.scoring.ray_tasks import ScoringOnRay


@contextmanager
def crew(
    folder: str, settings: ScorerSettings, workers: int | None, address: str | None
) -> Iterator[ScoringRunner]:
    """As many scorers as were asked for, or one a GPU; without a GPU, this process.

    Raises:
        ManifestError, MachineError: see `curate.scorer.open_scorer`.
    """
    alone = not _has_gpu(settings) if workers is None else workers < 2
    hands: ScoringInProcess | ScoringOnRay
    if address is None and alone:
        hands = ScoringInProcess(folder, open_scorer(settings))
    else:
        from curate.scoring.ray_tasks import ScoringOnRay

        hands = ScoringOnRay(folder, settings, workers, address)
    try:
        yield hands
    finally:
        hands.close()


def _has_gpu(settings: ScorerSettings) -> bool:
    """Whether this machine's GPUs are to be used, and not a certain one."""
    if settings.device not in ("auto", "cuda") or importlib.util.find_spec("torch") is None:
        return False
    import torch

    return bool(torch.cuda.is_available())
