"""Flags: the probability, by CLIP features, that an image shows what a manifest's `[flags.NAME]` describes in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.scorer.zero_shot import fits

if TYPE_CHECKING:
    from curate.manifest.settings import FlagSettings
    from curate.scorer.scorer import Scorer

DECIMALS = 4  # flag values are rounded to so many decimals before they are stored and judged

Embedded = Mapping[
    str, tuple[np.ndarray, np.ndarray]
]  # for each flag: the features of its `prompts`, and of its `others` (each texts x D)


def embed_flags(flags: Mapping[str, FlagSettings], scorer: Scorer) -> Embedded:
    """Compute the features of each flag's texts, each distinct text once. Raises: see `Encoder.texts`."""
    texts = dict.fromkeys(text for flag in flags.values() for text in (*flag.prompts, *flag.others))
    features = dict(zip(texts, scorer.embed_texts(list(texts)), strict=True))
    return {
        name: (np.stack([features[t] for t in flag.prompts]), np.stack([features[t] for t in flag.others]))
        for name, flag in flags.items()
    }


def flag_values(features: pa.ListArray, flags: Embedded) -> dict[str, pa.DoubleArray]:
    """The values of each flag for N images: probabilities from 0 to 1, null for an image without a feature.

    `features` is the images' column `clip_features` (N), `flags` the result of `embed_flags`.
    """
    return {name: pc.round(fits(features, *texts), DECIMALS) for name, texts in flags.items()}
