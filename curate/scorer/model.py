"""Load a CLIP model: find its files, put it on its device, check it, and describe its identity."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from curate.errors import MachineError, ManifestError
from curate.manifest.pinning import sha256_of
from curate.manifest.settings import ScorerSettings
from curate.scorer.framing import Framing
from curate.scorer.identity import Identity
from curate.scorer.weights import (
    CONFIG,
    FOLDER,
    TOWER,
    ModelFiles,
    locate,
    missing,
    open_clip_module,
)
from curate.storage.filesystems import one_line
from curate.storage.scratch import ScratchFolder

PROBES = ("a photo of a red circle, 12.5 %", "  A\tB\n c ", "一只红色的圆。", "naïve café 😀")
# A text is cut to this many characters for each token of the context before it is tokenized
CHARS_A_TOKEN = 32


@dataclass(frozen=True)
class Model:
    """A loaded model: both towers, the tokenizer, and how images are framed for it."""

    network: Any  # open_clip's CustomTextCLIP or CoCa
    tokenizer: Callable[[list[str]], Any]
    pad: int  # the token with which short texts are padded
    trims: bool  # whether padding may be cut off without changing a text's feature
    framing: Framing
    device: Any
    dtype: Any
    identity: Identity

    def tokens(self, texts: Sequence[str]) -> np.ndarray:
        """The tokens of texts (N x context length, int64), cut or padded to the context length."""
        longest = CHARS_A_TOKEN * self.identity.context_length
        tokens: np.ndarray = self.tokenizer([text[:longest] for text in texts]).numpy()
        return tokens

    def lengths(self, tokens: np.ndarray) -> np.ndarray:
        """How many tokens of each text (N) the model must be given: without the padding, if it may be cut off."""
        if not self.trims:
            return np.full(len(tokens), tokens.shape[1])
        filled = tokens[:, ::-1] != self.pad
        return np.asarray(tokens.shape[1] - filled.argmax(axis=1))


def build(settings: ScorerSettings) -> Model:
    """Find, load and check the model that the settings name.

    Raises:
        ManifestError: no such model, tag or file.
        MachineError: the weights are damaged or another model's; the device or a library is missing.
    """
    device, precision = placed(settings)
    source = locate(settings)
    digest = sha256_of(source.weights)
    network = _load(source, device, precision)
    tokenizer = _tokenizer(source)
    preprocessing = _preprocessing(network, settings.exact)
    context, pad = int(tokenizer(["a"]).shape[1]), _pad(tokenizer)
    identity = Identity(
        model=source.name,
        pretrained=source.pretrained,
        weights_sha256=digest,
        config=_portable(source.config),
        preprocessing=preprocessing,
        precision=precision,
        dimension=_dimension(network, preprocessing, device, precision),
        context_length=context,
        tokenizer_sha256=hashlib.sha256(tokenizer(list(PROBES)).numpy().astype("<i8").tobytes()).hexdigest(),
        open_clip=open_clip_module().__version__,
    )
    return Model(
        network=network,
        tokenizer=tokenizer,
        pad=pad,
        trims=_trims(network, pad),
        framing=_framing(preprocessing),
        device=device,
        dtype=_dtype(precision),
        identity=identity,
    )


def placed(settings: ScorerSettings) -> tuple[Any, str]:
    """Resolve `auto` in the settings: the torch device and the precision to use on this machine.

    Raises:
        ManifestError: no such kind of device.
        MachineError: torch, or the device, is missing on this machine.
    """
    try:
        import torch
    except ImportError as error:
        raise missing("scoring", error) from None
    there = torch.cuda.is_available()
    name = ("cuda" if there else "cpu") if settings.device == "auto" else settings.device
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ManifestError(f"no device {name!r} (there are: auto, cpu, cuda, cuda:1, …)") from None
    if device.type == "cuda" and not (there and (device.index or 0) < torch.cuda.device_count()):
        count = torch.cuda.device_count()
        raise MachineError(
            f"--device {name}: this machine has {count} usable GPUs; --device cpu does without"
        )
    if settings.precision != "auto":
        return device, settings.precision
    if device.type != "cuda":
        return device, "fp32"
    return device, "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"


def _load(source: ModelFiles, device: Any, precision: str) -> Any:
    """Build the network from a temporary folder that holds only this model's files.

    With `force_custom_text` the text tower is a module of its own, which takes texts shorter than the context.
    """
    open_clip = open_clip_module(source.config)
    safe = source.weights.suffix == ".safetensors"
    with ScratchFolder() as folder:
        told = {"model_cfg": source.config, "preprocess_cfg": source.preprocessing}
        Path(folder, CONFIG).write_text(json.dumps(told), encoding="utf-8")
        link = Path(folder, "open_clip_model.safetensors" if safe else "open_clip_pytorch_model.bin")
        link.symlink_to(source.weights.absolute())
        try:
            network = open_clip.create_model(
                f"{FOLDER}{folder}",
                precision=precision,
                device=str(device),
                force_custom_text=True,
                weights_only=True,
            )
        except Exception as error:  # torch, safetensors and pickle raise many classes on bad weights
            raise MachineError(
                f"cannot load {source.weights} as {source.name}: {one_line(error)}; get the file again, or "
                "the model that it belongs to"
            ) from None
    network.eval().requires_grad_(False)
    if _is_transformers(network.text):
        network.text.to(_dtype(precision))  # open_clip leaves the embeddings in fp32, which the layers refuse
    mask = getattr(network.text, "attn_mask", None)
    if mask is not None and hasattr(network.text, "transformer"):
        network.text.transformer.register_forward_pre_hook(_fit_mask, with_kwargs=True)
    return network


def _fit_mask(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
    """Cut a causal mask to the length of the texts, where they are shorter than the context."""
    mask, length = kwargs.get("attn_mask"), args[0].shape[1]
    if mask is not None and mask.ndim == 2:
        kwargs["attn_mask"] = mask[:length, :length]
    return args, kwargs


def _is_transformers(text: Any) -> bool:
    return type(text).__name__ == "HFTextEncoder"


def _trims(network: Any, pad: int) -> bool:
    """Whether padding never changes a feature: it is masked, or comes after all tokens under a causal mask."""
    text = network.text
    if _is_transformers(text):
        return bool(text.config.pad_token_id == pad)
    causal = getattr(text, "attn_mask", None) is not None and text.cls_emb is None
    return bool(causal and text.pool_type in ("argmax", "eos"))


def _tokenizer(source: ModelFiles) -> Any:
    try:
        return open_clip_module(source.config).get_tokenizer(source.tokenizer)
    except ImportError as error:
        raise missing(f"the tokenizer of {source.name}", error) from None
    except Exception as error:  # transformers, the hub, a missing package
        raise MachineError(f"cannot get the tokenizer of {source.name}: {one_line(error)}") from None


def _pad(tokenizer: Any) -> int:
    inner = getattr(tokenizer, "tokenizer", None)
    return int(getattr(inner, "pad_token_id", None) or 0)


def _preprocessing(network: Any, exact: bool) -> dict[str, Any]:
    """How the network wants its images prepared, as JSON data."""
    found: dict[str, Any] = json.loads(json.dumps(network.visual.preprocess_cfg))
    size = found["size"]
    height, width = (size, size) if isinstance(size, int) else size
    return {**found, "size": [int(height), int(width)], "exact": exact}


def _framing(preprocessing: dict[str, Any]) -> Framing:
    height, width = preprocessing["size"]
    return Framing(
        width=width,
        height=height,
        resize=preprocessing["resize_mode"],
        filter=preprocessing["interpolation"],
        fill=preprocessing["fill_color"],
        exact=preprocessing["exact"],
    )


def _dimension(network: Any, preprocessing: dict[str, Any], device: Any, precision: str) -> int:
    """The length of a feature, found by computing one.

    Raises:
        MachineError: the feature is not finite: the weights are damaged, or need another precision.
    """
    import torch

    grey = torch.zeros(1, 3, *preprocessing["size"], device=device, dtype=_dtype(precision))
    with torch.inference_mode():
        feature = network.encode_image(grey, normalize=True).float()
    if not bool(torch.isfinite(feature).all()):
        raise MachineError("the weights give no numbers: the file is damaged, or it needs --precision fp32")
    return int(feature.shape[1])


def _dtype(precision: str) -> Any:
    import torch

    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]


def _portable(config: dict[str, Any]) -> dict[str, Any]:
    """The architecture without local paths: a text tower of transformers is named by its config's hash."""
    plain: dict[str, Any] = json.loads(json.dumps(config))
    text = plain["text_cfg"]
    if text.get("hf_model_name"):
        from transformers.utils.hub import cached_file

        described = str(cached_file(text["hf_model_name"], TOWER))
        text["hf_model_name"] = f"sha256:{sha256_of(Path(described))}"
    if Path(text.get("hf_tokenizer_name") or "").is_absolute():  # tokenizer_sha256 says what it does
        text["hf_tokenizer_name"] = Path(text["hf_tokenizer_name"]).name
    return plain
