"""Zero-shot classification: the probability that an image fits one text rather than another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from filters.near_duplicate import feature_matrix

if TYPE_CHECKING:
    from curate.scorer.scorer import Scorer

SCALE = 100.0  # the logit scale of trained CLIP models: 0.01 more in cosine multiplies the odds by e


def zero_shot(features: pa.ListArray, scorer: Scorer, concept: str, other: str) -> pa.FloatArray:
    """The probability of `concept` rather than `other` for each row of `clip_features` (N; null for null).

        zero_shot(table["clip_features"].combine_chunks(), scorer, "a photo with a watermark", "a photo")

    `scorer` must be the one that made the features. How reliable it is depends on the model and on both texts: try it
    on rows whose answer you know.
    """
    there = features.is_valid().to_numpy(zero_copy_only=False)
    images, texts = feature_matrix(features.drop_null()), scorer.embed_texts([concept, other])
    odds = SCALE * (images @ (texts[0] - texts[1])) if there.any() else np.zeros(0)
    found = np.zeros(len(features), np.float32)
    found[there] = 1 / (1 + np.exp(-odds))
    return pa.array(found, mask=~there)
