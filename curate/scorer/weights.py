"""Find a model's files (architecture, preprocessing, tokenizer, weights) before anything is loaded."""

from __future__ import annotations

import importlib.util
import json
import logging
import re
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate.children.no_pandas import without
from curate.errors import MachineError, ManifestError, nearest
from curate.manifest.settings import ScorerSettings
from curate.storage.filesystems import one_line

CONFIG = "open_clip_config.json"
TOWER = "config.json"  # transformers' description of a text tower
SUFFIXES = (".safetensors", ".pt", ".pth", ".bin")
HUB, FOLDER = "hf-hub:", "local-dir:"
PREPROCESSING = ("mean", "std", "interpolation", "resize_mode", "fill_color")
TOWERS = ("transformers", "timm")  # libraries from which open_clip can take towers

log = logging.getLogger("curate")


class OneWarning(logging.Filter):
    """Replaces the warnings of the hub's client (some ten within a minute, one an attempt) by one warning of ours."""

    def __init__(self) -> None:
        super().__init__()
        self._has_warned = False

    def filter(self, record: logging.LogRecord) -> bool:
        """Always false: the client's own warnings are not shown."""
        if not self._has_warned:
            log.warning("the hub does not answer: trying again for up to a minute")
        self._has_warned = True
        return False


ONE_WARNING = OneWarning()
_left_out: list[str] = []  # the libraries of TOWERS that open_clip was imported without
_schemas: list[Any] = []  # keeps the operators alive that `_imported` declares for torchvision


@dataclass(frozen=True)
class ModelFiles:
    """The files and settings from which a model can be built."""

    name: str
    pretrained: str
    config: dict[str, Any]
    preprocessing: dict[str, Any]  # only what differs from open_clip's default
    weights: Path
    tokenizer: str  # the name that `open_clip.get_tokenizer` takes


def open_clip_module(config: Mapping[str, Any] | None = None) -> Any:
    """Import open_clip, so that it can build the model that `config` (None: any without other libraries) describes.

    Importing transformers and timm takes as long as importing all the rest, and open_clip imports them wherever they
    are installed. So it is imported without them first, and once more with them when a model has a tower of theirs.

    Raises:
        MachineError: it is not installed, or torch and torchvision do not fit together.
    """
    logging.getLogger("huggingface_hub.utils._http").addFilter(ONE_WARNING)
    try:
        if config is not None and _takes_tower(config):
            return _with_towers()
        if "open_clip" not in sys.modules:
            _left_out.extend(name for name in TOWERS if name not in sys.modules)
        with without(*TOWERS):
            return _imported()
    except ImportError as error:
        raise missing("scoring", error) from None
    except RuntimeError as error:
        raise MachineError(f"torch and torchvision do not fit together: {one_line(error)}") from None


def _takes_tower(config: Mapping[str, Any]) -> bool:
    """Whether a model's description names a tower of another library."""
    parts = (config.get("text_cfg"), config.get("vision_cfg"))
    return any(part.get(name) for part in parts if part for name in ("hf_model_name", "timm_model_name"))


def _with_towers() -> Any:
    if _left_out:
        _left_out.clear()
        _forget("open_clip")
    return _imported()


def _forget(*packages: str) -> None:
    """Remove packages from `sys.modules`, so that the next import loads them again."""
    for name in [name for name in sys.modules if name.split(".")[0] in packages]:
        del sys.modules[name]


def _imported() -> Any:
    """Import open_clip, even where torchvision was built for another version of torch than the installed one.

    Such a torchvision cannot load its operators, and fails when it registers their fakes. No CLIP model needs these
    operators, so they are declared here without an implementation, and the import is tried again.
    """
    try:
        return importlib.import_module("open_clip")
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
    import torch

    spec = importlib.util.find_spec("torchvision")
    assert spec is not None
    declared = Path(next(iter(spec.submodule_search_locations or [])), "_meta_registrations.py").read_text()
    library = torch.library.Library("torchvision", "FRAGMENT")
    _schemas.append(library)
    for name in re.findall(r'register_fake\("torchvision::(\w+)"\)', declared):
        library.define(f"{name}(Tensor a, Tensor b, float c) -> Tensor")
    _forget("torchvision", "open_clip")
    return importlib.import_module("open_clip")


def missing(what: str, error: ImportError) -> MachineError:
    """The error for a missing library: `what` needs it, `error` is the failed import."""
    return MachineError(
        f"{what} needs {error.name or one_line(error)}: pip install 'curate[score]' -c constraints.txt"
    )


def locate(settings: ScorerSettings) -> ModelFiles:
    """Find the model that the settings name; weights of a tag or of the hub are downloaded if they are not cached.

    Raises:
        ManifestError: no such model, tag or file.
        MachineError: a library or the text tower's description is missing, or the hub cannot be reached.
    """
    name = settings.model
    folder = Path(name.removeprefix(FOLDER))
    if name.startswith(HUB):
        source = _from_hub(settings)
    elif name.startswith(FOLDER) or (folder / CONFIG).is_file():
        source = _from_folder(settings, folder)
    else:
        source = _by_name(settings)
    _check_text_tower(source)
    return source


def check_weights(weights: Path) -> None:
    """Check that a weights file can be opened and lists tensors; no tensor is loaded.

    Raises:
        MachineError: the file is damaged, cut short, holds no tensor, or holds other objects than tensors.
    """
    try:
        if weights.suffix == ".safetensors":
            from safetensors import safe_open

            with safe_open(weights, framework="np") as file:
                empty = not file.keys()
        else:
            empty = not _listed(weights)
    except ImportError as error:
        raise missing("scoring", error) from None
    except Exception as error:  # torch, safetensors, zipfile and pickle raise errors of many classes
        raise MachineError(f"cannot load {weights}: {one_line(error)}; get the file again") from None
    if empty:
        raise MachineError(f"cannot load {weights}: it holds no tensor; get the file again")


def _listed(weights: Path) -> Any:
    """The content of a weights file of torch's, with tensors that have no values."""
    import torch

    if zipfile.is_zipfile(weights):
        return torch.load(weights, map_location="meta", mmap=True, weights_only=True)
    with weights.open("rb") as file:
        begins = file.read(2)
    if not begins.startswith(b"\x80"):
        raise ValueError("neither a zip file nor a pickle, as torch writes them")
    return torch.load(weights, map_location="meta", weights_only=True)


def _by_name(settings: ScorerSettings) -> ModelFiles:
    open_clip = open_clip_module()
    name, given = settings.model.replace("/", "-"), settings.pretrained
    if Path(settings.model).is_absolute():
        raise ManifestError(f"no model {settings.model!r}: there is no such folder, or no {CONFIG} in it")
    if name not in open_clip.list_models():
        raise ManifestError(f"no model {settings.model!r}{_nearest(name, open_clip.list_models())}")
    config, tags = open_clip.get_model_config(name), open_clip.list_pretrained_tags_by_model(name)
    if given and _is_file(given):
        return ModelFiles(settings.model, given, config, {}, Path(given), name)
    tag = open_clip.get_pretrained_cfg(name, given)
    if not tag:
        hint = nearest(given, tags) if given else f": give a tag (such as {', '.join(tags[:3])}) or a path"
        raise ManifestError(f"no weights {given!r} for {name}{hint}")
    config["quick_gelu"] = bool(tag.get("quick_gelu", False))  # what the weights were trained with
    weights = _downloaded(lambda: open_clip.download_pretrained(tag), f"{name} {given}")
    preprocessing = {key: tag[key] for key in PREPROCESSING if tag.get(key) is not None}
    return ModelFiles(settings.model, given, config, preprocessing, weights, name)


def _from_hub(settings: ScorerSettings) -> ModelFiles:
    open_clip = open_clip_module()
    owner = settings.model.removeprefix(HUB)
    from open_clip.pretrained import download_pretrained_from_hf as download

    path = _downloaded(lambda: download(owner, filename=CONFIG), settings.model)
    config, preprocessing = _read_config(path)
    given = settings.pretrained
    weights = Path(given) if given else _downloaded(lambda: download(owner), settings.model)
    assert open_clip is not None
    return ModelFiles(settings.model, given, config, preprocessing, weights, settings.model)


def _from_folder(settings: ScorerSettings, folder: Path) -> ModelFiles:
    if not (folder / CONFIG).is_file():
        raise ManifestError(f"{folder} is no model: it holds no {CONFIG}")
    config, preprocessing = _read_config(folder / CONFIG)
    text = config["text_cfg"]
    if text.get("hf_model_name"):
        text["hf_model_name"] = _tower_in(folder, str(text["hf_model_name"]))
    given = settings.pretrained
    if given and not _is_file(given):
        raise ManifestError(f"no weights {given!r}: a model from a folder takes a path")
    weights = Path(given) if given else _weights_in(folder)
    return ModelFiles(settings.model, given, config, preprocessing, weights, f"{FOLDER}{folder}")


def _tower_in(folder: Path, name: str) -> str:
    """The text tower's folder: the path `name` from the model's folder, or its last part there; else `name` itself."""
    places = (folder / name, folder / Path(name).name)
    return next((str(place) for place in places if (place / TOWER).is_file()), name)


def _check_text_tower(source: ModelFiles) -> None:
    """Check that a text tower of transformers can be built; its architecture is not in the weights.

    Raises:
        MachineError: its config cannot be read or downloaded, or transformers is missing.
    """
    name = str(source.config["text_cfg"].get("hf_model_name") or "")
    if not name:
        return
    try:
        from transformers import AutoConfig

        AutoConfig.from_pretrained(name)
    except ImportError as error:
        raise missing(f"the text tower of {source.name}", error) from None
    except Exception as error:  # the hub's client, json, transformers
        raise MachineError(
            f"cannot get the text tower {name!r} of {source.name}: {one_line(error)}; without the hub put "
            f"its {TOWER} into a folder {Path(name).name!r} in a model's folder, beside its {CONFIG}"
        ) from None


def _weights_in(folder: Path) -> Path:
    found = sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES)
    safe = [path for path in found if path.suffix == ".safetensors"] or found
    if len(safe) != 1:
        raise ManifestError(f"{folder} holds {len(safe)} weights files: name one with --pretrained PATH")
    return safe[0]


def _read_config(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The architecture and preprocessing that an open_clip_config.json describes.

    Raises:
        ManifestError: the file does not describe a model.
    """
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
        model = read["model_cfg"]
        if not all(isinstance(model[part], dict) for part in ("vision_cfg", "text_cfg")):
            raise ValueError("vision_cfg and text_cfg must be tables")
        preprocessing = dict(read.get("preprocess_cfg", {}))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ManifestError(f"{path} does not describe a model: {type(error).__name__} {error}") from None
    return model, {key: preprocessing[key] for key in PREPROCESSING if preprocessing.get(key) is not None}


def _is_file(given: str) -> bool:
    """Whether this names a weights file rather than a tag.

    Raises:
        ManifestError: it looks like a path, but there is no such file.
    """
    path = Path(given)
    if path.is_file():
        return True
    if path.suffix in SUFFIXES or "/" in given:
        raise ManifestError(f"no weights file {given!r}")
    return False


def _downloaded(download: Any, what: str) -> Path:
    try:
        return Path(download())
    except Exception as error:  # the hub's client, requests and urllib have different error classes
        raise MachineError(
            f"cannot get {what}: {one_line(error)}; without the hub give a local file: --pretrained PATH"
        ) from None


def _nearest(name: str, known: list[str]) -> str:
    """A hint at the nearest known model name; there are too many to list."""
    lower = {one.lower(): one for one in known}
    hint = nearest(name.lower(), lower)
    found = re.search(r"did you mean '(.+)'", hint)
    return (
        f" (did you mean {lower[found[1]]!r}?)"
        if found
        else f" (open_clip has {len(known)}, such as ViT-L-14)"
    )
