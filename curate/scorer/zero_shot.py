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
    texts = scorer.embed_texts([concept, other])
    return fits(features, texts[:1], texts[1:]).cast(pa.float32())


def fits(features: pa.ListArray, texts: np.ndarray, others: np.ndarray) -> pa.DoubleArray:
    """The probability that an image fits the best of some texts rather than the best of others (N; null for null).

    `features` are a column `clip_features`; `texts` and `others` the features of texts (any number x D).
    """
    there = features.is_valid().to_numpy(zero_copy_only=False)
    images = feature_matrix(features.drop_null()).astype(np.float64)
    found = np.zeros(len(features))
    if there.any():
        one, two = ((images @ side.T.astype(np.float64)).max(axis=1) for side in (texts, others))
        found[there] = 1 / (1 + np.exp(-SCALE * (one - two)))
    return pa.array(found, mask=~there)
