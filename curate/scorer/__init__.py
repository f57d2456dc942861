"""CLIP features and scores for shards. Scored shards name their model, so that it can be loaded again.

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
    """Check that the model and its weights exist and can be opened; the weights of a tag are downloaded.

    Raises: see `open_encoder`.
    """
    from curate.scorer.weights import check_weights, locate

    check_weights(locate(settings).weights)


def check_device(settings: ScorerSettings) -> None:
    """Check that this machine has the device that the settings name.

    Raises:
        ManifestError: no such kind of device.
        MachineError: torch, or the device, is missing on this machine.
    """
    from curate.scorer.model import placed

    placed(settings)


def open_scorer(settings: ScorerSettings, cores: int | None = None) -> Scorer:
    """Build a scorer that uses `cores` cores (default: all of this machine), with one decoding child process for each.

    Raises: see `open_encoder`.
    """
    from curate.scorer.scorer import Scorer

    cores = cores or len(os.sched_getaffinity(0))
    return Scorer(open_encoder(settings, cores), children=cores)


def open_encoder(settings: ScorerSettings, cores: int | None = None) -> LocalEncoder:
    """Build the part of a scorer that holds the model; on a CPU it computes on `cores` cores (default: all).

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
    """Build again the scorer that made the features of the shards in `folder`.

    `name` is the name under which `curate score --name` kept its scores (default: the shards' own scores). `model` and
    `pretrained` say where the model and its weights are now, if they were moved; their contents are compared with those
    recorded in the shards. `device` is `auto`, `cpu` or `cuda`; `cores` as for `open_scorer`.

    Raises:
        InputError: the folder holds no shards, or they were not scored.
        ManifestError: no such model, tag, file or kind of device.
        MachineError: the weights cannot be read, or differ from the recorded ones; a device or library is missing.
    """
    from curate.scorer.reload import settings_of

    identity, settings = settings_of(folder, name, model, pretrained, device)
    scorer = open_scorer(settings, cores)
    if not scorer.identity.same(identity):
        scorer.close()
        from curate.errors import MachineError

        raise MachineError(f"not the scorer of {folder}: {identity.difference(scorer.identity)}")
    return scorer
