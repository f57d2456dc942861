"""PyTorch data sets over shards and packs, which can resume at any sample. Importing this package imports torch."""

from __future__ import annotations

from curate.loader.batches import dataloader
from curate.loader.collate import Collate, CollatePacks, decode, normalise
from curate.loader.datasets import PackDataset, ShardDataset, resume_state
from curate.loader.maps import PackMap, ShardMap

__all__ = [
    "Collate",
    "CollatePacks",
    "PackDataset",
    "PackMap",
    "ShardDataset",
    "ShardMap",
    "dataloader",
    "decode",
    "normalise",
    "resume_state",
]
