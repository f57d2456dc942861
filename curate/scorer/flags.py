"""Flags: what images show by the words of a manifest's `[flags.NAME]`, told by their CLIP features."""

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

DECIMALS = 4  # of a flag's value, as it is kept and judged

Embedded = Mapping[
    str, tuple[np.ndarray, np.ndarray]
]  # by flag: the features of its prompts, and of the others


def embed_flags(flags: Mapping[str, FlagSettings], scorer: Scorer) -> Embedded:
    """The features of each flag's texts. Raises: see `Encoder.texts`."""
    texts = dict.fromkeys(text for flag in flags.values() for text in (*flag.prompts, *flag.others))
    features = dict(zip(texts, scorer.embed_texts(list(texts)), strict=True))
    return {
        name: (np.stack([features[t] for t in flag.prompts]), np.stack([features[t] for t in flag.others]))
        for name, flag in flags.items()
    }


def flag_values(features: pa.ListArray, flags: Embedded) -> dict[str, pa.DoubleArray]:
    """Each flag's value of N images by their `clip_features`: a probability from 0 to 1, null without a feature."""
    return {name: pc.round(fits(features, *texts), DECIMALS) for name, texts in flags.items()}
