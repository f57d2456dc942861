"""`curate score`: give finished shards CLIP features and scores; a stopped scoring can be resumed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from curate.engine.progress import Progress
    from curate.scoring.command import ScoreSettings


def score(
    folder: str, settings: ScoreSettings, workers: int | None = None, address: str | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Score a finished run's shards: see `curate.scoring.command.score`."""
    from curate.scoring.command import score as run

    return run(folder, settings, workers, address, progress)
