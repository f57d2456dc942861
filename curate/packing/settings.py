"""The settings of `curate pack`."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

import msgspec

from curate.errors import ManifestError
from curate.manifest.declared import plain_fault
from curate.packing.mix import Mix
from curate.packing.mix import load as load_mix
from curate.packing.recipe import MAX_SCALE, load_recipe
from curate.packing.tokenizer import IMAGE_PAD
from curate.tasks.dialect import Dialect, load_with
from curate.tasks.formats import QWEN_VL
from curate.tasks.grouping import MAX_TURNS


@dataclass(frozen=True)
class PackSettings:
    """How samples are packed. The same settings and inputs give the same bytes."""

    seq_len: int = 2048  # tokens
    image_tokens: int = 256  # of an image, beside its two markers
    tokenizer: str = ""  # a file; empty: Qwen's, which ships with curate
    end_token: str = ""  # empty: the first of the usual ones that the tokenizer has
    image_pad: str = IMAGE_PAD  # the token that stands for a piece of an image
    mix: str = ""  # a mix.toml; empty: every sample once
    recipe: str = ""  # a stage's recipe in the place of a mix: a name or a .toml file
    scale: float = 1.0  # of the recipe's counts
    seed: int = 0
    truncate: bool = False  # cut samples that are too long, rather than drop them
    # Texts longer than a sequence: in consecutive pieces, or not at all
    long_texts: Literal["cut", "drop"] = "cut"
    dialect: str = QWEN_VL.name  # how samples are written: a name, NAME:PRESET, or a file
    dialect_settings: tuple[str, ...] = ()  # KEY=VALUE laid over the dialect, such as cost.max_pixels=451584
    group: Literal["", "image"] = ""  # image: what is asked of one image is one sample, a dialogue
    turns: int = MAX_TURNS  # questions of such a dialogue at most
    max_images: int = 0  # of a sequence; 0: any number
    max_patches: int = 0  # of the image encoder in a sequence (four a token in Qwen's); 0: any number
    # In the packs, left in the shards, or by path alone
    images: Literal["embed", "reference", "name"] = "embed"
    bucket_bytes: int = 512 * 2**20  # what is shuffled and packed in memory at once
    file_bytes: int = 2**30  # a pack file ends here
    row_group_bytes: int = 64 * 2**20
    overwrite: bool = False

    def check(self) -> PackSettings:
        """Check the settings and return them.

        Raises:
            ManifestError: a value is not allowed.
        """
        if self.group not in ("", "image"):
            raise ManifestError(f"cannot group by {self.group!r}: give image")
        if self.images not in IMAGE_MODES:
            raise ManifestError(f"images are {', '.join(IMAGE_MODES)}: not {self.images!r}")
        for name, low, high in _RANGES:
            if not low <= getattr(self, name) <= high:
                raise ManifestError(f"{name} must be from {low} to {high}, not {getattr(self, name)}")
        return self

    def resolved(self) -> dict[str, object]:
        """Return the settings that decide the output; those of _LATER only if they are not the default."""
        said = {name: value for name, value in dataclasses.asdict(self).items() if name != "overwrite"}
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        return {name: value for name, value in said.items() if name not in _LATER or value != defaults[name]}

    def options(self) -> list[str]:
        """Return the settings that are not the default as options of `curate pack`, if it has such an option."""
        said: list[str] = []
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name not in _OPTIONS or value == field.default:
                continue
            flag = f"--{_OPTIONS[field.name]}"
            values = value if isinstance(value, tuple) else (value,)
            for one in values:
                said += [flag] if one is True else [flag, str(one)]
        return said

    def with_recipe(self) -> PackSettings:
        """Return the settings, with the recipe's settings in place of defaults.

        Raises:
            ManifestError: there is no such recipe, or it or the scale is wrong.
        """
        if not self.recipe:
            return self
        if self.mix:
            raise ManifestError("a recipe is a mixture: give either mix or recipe")
        if not 0 < self.scale <= MAX_SCALE:
            raise ManifestError(f"scale must be above 0 and at most {MAX_SCALE:g}, not {self.scale}")
        wanted = load_recipe(self.recipe).pack
        known = {field.name: field.default for field in dataclasses.fields(self)}
        if unknown := set(wanted) - set(known):
            raise ManifestError(f"recipe {self.recipe}: pack has no setting {', '.join(sorted(unknown))}")
        untouched = {name: value for name, value in wanted.items() if getattr(self, name) == known[name]}
        try:
            return msgspec.convert(dataclasses.asdict(self) | untouched, PackSettings)
        except msgspec.ValidationError as error:
            raise ManifestError(f"recipe {self.recipe}: {plain_fault(str(error), PackSettings)}") from None

    def load_mix(self) -> Mix:
        """Return the mixture of the recipe or of the mix file; without either, every sample once.

        Raises:
            ManifestError: the file cannot be read, or is wrong.
        """
        if self.recipe:
            return load_recipe(self.recipe).mix(self.scale)
        return load_mix(self.mix) if self.mix else Mix()

    def load_dialect(self) -> Dialect:
        """Return the dialect; for Qwen-VL's, with the number of `image_tokens`.

        Raises:
            ManifestError: there is no such dialect, or a setting of it is wrong.
        """
        given = list(self.dialect_settings)
        if self.dialect == QWEN_VL.name and self.image_tokens != QWEN_VL.cost.tokens:
            given.insert(0, f"cost.tokens={self.image_tokens}")
        return load_with(self.dialect, given)


IMAGE_MODES = ("embed", "reference", "name")
# unsaid while they are the default
_LATER = (
    "recipe",
    "scale",
    "group",
    "turns",
    "long_texts",
    "dialect",
    "dialect_settings",
    "max_images",
    "max_patches",
)
_OPTIONS = {"dialect_settings": "dialect-set"} | {
    name: name.replace("_", "-")
    for name in (
        *("seq_len", "image_tokens", "tokenizer", "mix", "seed", "truncate", "long_texts"),
        *("dialect", "max_images", "max_patches", "recipe", "scale", "group", "turns", "images"),
    )
}  # of `curate pack`
_RANGES = (
    ("turns", 1, 10_000),
    ("max_images", 0, 2**20),
    ("max_patches", 0, 2**31),
    ("seq_len", 8, 2**20),
    ("image_tokens", 0, 2**16),
    ("seed", 0, 2**63 - 1),
    ("bucket_bytes", 2**16, 2**30),
    ("file_bytes", 2**16, 2**40),
    ("row_group_bytes", 2**16, 2**30),
)
