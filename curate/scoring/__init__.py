"""`curate score`: give finished shards CLIP features and scores, in a pass that can be stopped and goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from curate.engine.progress import Progress
    from curate.scoring.command import ScoreSettings


def score(
    folder: str, settings: ScoreSettings, workers: int | None = None, address: str | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:  # fmt: skip
    """`curate score`: see `curate.scoring.command`."""
    from curate.scoring.command import score as run

    return run(folder, settings, workers, address, progress)
