"""CLIP features and scores for shards; the shards name the model, so that others can embed into the same space.

    with curate.scorer.load("DIR") as scorer:          # the scorer that made DIR's clip_features, built again
        scorer.embed_images([jpeg_bytes, pillow_image])  # N x D, float32, of length 1
        scorer.embed_texts(["a red circle"])

torch and open_clip are imported when a scorer is opened, not before.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from curate.manifest.settings import ScorerSettings
    from curate.scorer.encoder import LocalEncoder
    from curate.scorer.scorer import Scorer


def check(settings: ScorerSettings) -> None:
    """Find the model and its weights, and open them without loading them; a tag's are downloaded.

    Raises: see `open_encoder`.
    """
    from curate.scorer.weights import check_weights, locate

    check_weights(locate(settings).weights)


def check_device(settings: ScorerSettings) -> None:
    """Find the device.

    Raises: see `open_encoder`.
    """
    from curate.scorer.model import placed

    placed(settings)


def open_scorer(settings: ScorerSettings, cores: int | None = None) -> Scorer:
    """Build a scorer that uses so many cores (all there are): as many child processes decode for it.

    Raises: see `open_encoder`.
    """
    from curate.scorer.scorer import Scorer

    cores = cores or len(os.sched_getaffinity(0))
    return Scorer(open_encoder(settings, cores), children=cores)


def open_encoder(settings: ScorerSettings, cores: int | None = None) -> LocalEncoder:
    """Build the part of a scorer that holds the model.

    Raises:
        ManifestError: no such model, tag or file.
        MachineError: damaged weights; a device, library or the hub is missing.
    """
    from curate.scorer.encoder import LocalEncoder
    from curate.scorer.model import build

    batch = None if settings.batch_size == "auto" else settings.batch_size
    return LocalEncoder(build(settings), cores or len(os.sched_getaffinity(0)), batch)


def load(
    folder: str,
    *,
    name: str = "",
    model: str | None = None,
    pretrained: str | None = None,
    device: str = "auto",
    cores: int | None = None,
) -> Scorer:
    """Build the scorer again that made the features of the shards in `folder`.

    `name` is the scorer's, where it was given one. `model` and `pretrained` say where the model or its
    weights lie now, if not where they lay then; that they are the same is checked by their contents.

    Raises:
        InputError: the shards were not scored.
        MachineError: the weights are not there, or others; a library is missing.
    """
    from curate.scorer.reload import settings_of

    identity, settings = settings_of(folder, name, model, pretrained, device)
    scorer = open_scorer(settings, cores)
    if not scorer.identity.same(identity):
        scorer.close()
        from curate.errors import MachineError

        raise MachineError(f"not the scorer of {folder}: {identity.difference(scorer.identity)}")
    return scorer
