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
    """The probability of `concept` rather than `other` (two texts) for each image (N; null where its feature is null).

        zero_shot(table["clip_features"].combine_chunks(), scorer, "a photo with a watermark", "a photo")

    `features` is a column `clip_features`, and `scorer` must be the one that made it. How reliable the probabilities
    are depends on the model and on both texts: try them on rows whose answer you know.
    """
    texts = scorer.embed_texts([concept, other])
    return fits(features, texts[:1], texts[1:]).cast(pa.float32())


def fits(features: pa.ListArray, texts: np.ndarray, others: np.ndarray) -> pa.DoubleArray:
    """The probability that an image fits one of `texts` rather than one of `others` (N; null where it has no feature).

    On each side the text with the highest cosine counts. `features` is a column `clip_features` (N); `texts` and
    `others` are features of texts (any number x D).
    """
    there = features.is_valid().to_numpy(zero_copy_only=False)
    images = feature_matrix(features.drop_null()).astype(np.float64)
    found = np.zeros(len(features))
    if there.any():
        one, two = ((images @ side.T.astype(np.float64)).max(axis=1) for side in (texts, others))
        found[there] = 1 / (1 + np.exp(-SCALE * (one - two)))
    return pa.array(found, mask=~there)
