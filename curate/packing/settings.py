"""What `curate pack` can be told."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from curate.errors import ManifestError
from curate.packing.tokenizer import IMAGE_PAD


@dataclass(frozen=True)
class PackSettings:
    """How samples are packed. The same settings and inputs give the same bytes."""

    seq_len: int = 2048  # tokens
    image_tokens: int = 256  # of an image, beside its two markers
    tokenizer: str = ""  # a file; empty: Qwen's, which ships with curate
    end_token: str = ""  # empty: the first of the usual ones that the tokenizer has
    image_pad: str = IMAGE_PAD  # the token that stands for a piece of an image
    mix: str = ""  # a mix.toml; empty: every sample once
    seed: int = 0
    truncate: bool = False  # cut samples that are too long, rather than drop them
    embed_images: bool = True  # put the images into the packs, rather than their paths alone
    bucket_bytes: int = 512 * 2**20  # what is shuffled and packed in memory at once
    file_bytes: int = 2**30  # a pack file ends here
    row_group_bytes: int = 64 * 2**20
    overwrite: bool = False

    def check(self) -> PackSettings:
        """The settings themselves.

        Raises:
            ManifestError: a value that makes no sense.
        """
        for name, low, high in _RANGES:
            if not low <= getattr(self, name) <= high:
                raise ManifestError(f"{name} must be from {low} to {high}, not {getattr(self, name)}")
        return self

    def resolved(self) -> dict[str, object]:
        """What decides the output."""
        return {name: value for name, value in dataclasses.asdict(self).items() if name != "overwrite"}


_RANGES = (
    ("seq_len", 8, 2**20),
    ("image_tokens", 0, 2**16),
    ("seed", 0, 2**63 - 1),
    ("bucket_bytes", 2**16, 2**30),
    ("file_bytes", 2**16, 2**40),
    ("row_group_bytes", 2**16, 2**30),
)
