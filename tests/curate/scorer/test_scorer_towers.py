"""Text towers of transformers': XLM-RoBERTa's kind, and BERT with WordPiece, as Chinese CLIP has."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curate.errors import MachineError, ManifestError
from curate.manifest.settings import ScorerSettings
from curate.scorer import check, load, open_scorer
from curate.scorer.scorer import Scorer
from tests.curate.runs import ROOT, curate, done, shards, write_pairs
from tests.curate.scored import SCORER, cosines, plain_features, run_shapes, shape

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")

TEXTS = ["图中有一个红色的圆", "a red star", "", "绿色背景上的黑色十字 " * 9, "Ein ☃, naïve 😀", "圆"]
CONTEXT, SMALL = 16, {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
SMALL |= {"intermediate_size": 64, "max_position_embeddings": 32, "initializer_range": 0.5}


def word_pieces(folder: Path) -> int:
    """A tokenizer like Chinese BERT's in the folder; how many tokens it knows."""
    pieces = tokenizers.Tokenizer(tokenizers.models.WordPiece(unk_token="[UNK]"))
    pieces.normalizer = tokenizers.normalizers.BertNormalizer()
    pieces.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = tokenizers.trainers.WordPieceTrainer(vocab_size=400, special_tokens=special)
    pieces.train_from_iterator((shape(n, language=("en", "zh")[n % 2])[1] for n in range(60)), trainer)
    pieces.post_processor = tokenizers.processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    transformers.BertTokenizerFast(tokenizer_object=pieces).save_pretrained(folder)
    return int(pieces.get_vocab_size())


def sentence_pieces(folder: Path) -> int:
    """A tokenizer like XLM-RoBERTa's in the folder; how many tokens it knows."""
    pieces = tokenizers.Tokenizer(tokenizers.models.Unigram())
    pieces.normalizer = tokenizers.normalizers.NFKC()
    pieces.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trainer = tokenizers.trainers.UnigramTrainer(vocab_size=300, special_tokens=special, unk_token="<unk>")
    pieces.train_from_iterator((shape(n, language=("en", "zh")[n % 2])[1] for n in range(60)), trainer)
    pieces.post_processor = tokenizers.processors.RobertaProcessing(
        ("</s>", 2), ("<s>", 0), trim_offsets=False
    )
    names = {"bos": "<s>", "pad": "<pad>", "eos": "</s>", "unk": "<unk>", "cls": "<s>", "sep": "</s>"}
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=pieces, **{f"{role}_token": name for role, name in names.items()}
    ).save_pretrained(folder)
    return int(pieces.get_vocab_size())


def made(model: Path, kind: str, pad: int | None = None, named: str = "") -> str:
    """A model with the shapes' image tower and random weights, in a folder; its text tower lies in `text`.

    `pad` is the tower's token for padding, the tokenizer's by default; `named` is what the model calls it.
    """
    from safetensors.torch import save_file

    from curate.scorer.weights import open_clip_module

    model.mkdir(parents=True)
    shutil.copy(Path(SCORER.model, "open_clip_config.json"), model)
    if kind == "bert":
        tokens, pad = word_pieces(model), 0 if pad is None else pad
        tower = transformers.BertConfig(vocab_size=tokens, pad_token_id=pad, **SMALL)
        pooler = {"hf_pooler_type": "cls_last_hidden_state_pooler", "hf_proj_type": "linear"}
    else:
        tokens, pad = sentence_pieces(model), 1 if pad is None else pad
        tower = transformers.XLMRobertaConfig(vocab_size=tokens, pad_token_id=pad, **SMALL)
        pooler = {"hf_pooler_type": "mean_pooler", "hf_proj_type": "mlp"}
    tower.save_pretrained(model / "text")
    told = json.loads((model / "open_clip_config.json").read_text())
    text = {
        "hf_model_name": named or str(model / "text"),
        "hf_tokenizer_name": "its own",
        "context_length": CONTEXT,
    }
    told["model_cfg"]["text_cfg"] = text | pooler
    (model / "open_clip_config.json").write_text(json.dumps(told))
    torch.manual_seed(1)
    here = text | pooler | {"hf_model_name": str(model / "text"), "hf_model_pretrained": False}
    network = open_clip_module(told["model_cfg"]).model.CustomTextCLIP(
        **told["model_cfg"] | {"text_cfg": here}
    )
    weights = {key: value.contiguous() for key, value in network.state_dict().items()}
    save_file(weights, model / "open_clip_model.safetensors")
    return str(model)


def settings(model: str, **more: Any) -> ScorerSettings:
    return ScorerSettings(**{"model": model, "device": "cpu", **more})


def one_by_one(scorer: Scorer) -> np.ndarray:
    """The features of texts that are not filled up to the longest of them."""
    return np.concatenate([scorer.embed_texts([text]) for text in TEXTS])


@pytest.fixture(scope="module", params=["bert", "xlm-roberta"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    return made(tmp_path_factory.mktemp("towers") / request.param, request.param)


def test_features_are_those_that_open_clip_gives(model: str) -> None:
    bodies = [shape(1)[0]]
    images, said = plain_features(bodies, TEXTS, model)
    assert cosines(said[:1], said[1:2])[0] < 0.98  # the tokenizer and the tower tell texts apart
    with open_scorer(settings(model, exact=True), cores=1) as scorer:
        assert cosines(scorer.embed_images(bodies), images).min() >= 0.9999
        assert cosines(scorer.embed_texts(TEXTS), said).min() >= 0.9999
        assert cosines(one_by_one(scorer), said).min() >= 0.9999
        assert str(Path(model).parent) not in json.dumps(scorer.identity.config)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_stays_within_its_bound(model: str, precision: str) -> None:
    _, said = plain_features([shape(1)[0]], TEXTS, model)
    with open_scorer(settings(model, precision=precision), cores=1) as scorer:
        assert cosines(scorer.embed_texts(TEXTS), said).min() >= 0.999


@pytest.mark.parametrize(("kind", "pad"), [("bert", 5), ("xlm-roberta", 0)])
def test_a_tower_that_does_not_hide_the_tokenizers_padding_sees_it(
    tmp_path: Path, kind: str, pad: int
) -> None:
    model = made(tmp_path / "m", kind, pad)
    _, said = plain_features([shape(1)[0]], TEXTS, model)
    with open_scorer(settings(model), cores=1) as scorer:
        assert cosines(one_by_one(scorer), said).min() >= 0.9999


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run over pictures of shapes."""
    return run_shapes(tmp_path_factory.mktemp("plain") / "run", rows=8, unit=4)


def test_shards_are_scored_and_their_scorer_is_built_again(model: str, plain: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(plain, tmp_path / "run"))
    done("score", folder, "--model", model, "--device", "cpu")
    row = shards(folder).slice(5, 1).to_pylist()[0]
    with load(str(folder), device="cpu", cores=1) as scorer:
        (image,), (text,) = scorer.embed_images([row["image"]["bytes"]]), scorer.embed_texts([row["text"]])
    assert np.abs(image - row["clip_features"]).max() < 1e-3
    assert image @ text == pytest.approx(row["clip_score"], abs=1e-5)


def test_a_run_scores_chinese_pairs_by_its_manifests_model(model: str, tmp_path: Path) -> None:
    rows = [
        {"URL": f"https://shapes.example/{n}.jpg", "TEXT": f"{text} {n}", "image": image, "LANGUAGE": "zh"}
        | {"WIDTH": 256, "HEIGHT": 256, "similarity": 0.4}
        for n, (image, text) in enumerate(shape(n, language="zh") for n in range(6))
    ]
    manifest = (ROOT / "manifests" / "laion-zh.toml").read_text()
    manifest = manifest.replace("min_score = 0.26", "min_score = -1.0")  # the weights are random
    own = tmp_path / "chinese.toml"
    own.write_text(f'{manifest}\n[scorer]\nmodel = "{model}"\ndevice = "cpu"\n')
    done("run", own, "--input", write_pairs(tmp_path / "pairs.parquet", rows), "--out", tmp_path / "run")
    kept = shards(tmp_path / "run").to_pylist()
    images, said = plain_features(
        [row["image"]["bytes"] for row in kept], [row["text"] for row in kept], model
    )
    assert len(kept) == len(rows)
    assert np.abs(cosines(images, said) - [row["clip_score"] for row in kept]).max() < 0.005


def test_a_model_that_was_moved_finds_its_tower_beside_its_weights(plain: Path, tmp_path: Path) -> None:
    model = made(tmp_path / "first" / "m", "bert")  # it names its tower by an absolute path
    folder = Path(shutil.copytree(plain, tmp_path / "run"))
    done("score", folder, "--model", model, "--device", "cpu")
    (tmp_path / "first").rename(tmp_path / "second")
    with pytest.raises(ManifestError, match="there is no such folder"):
        load(str(folder), device="cpu", cores=1)
    moved = str(tmp_path / "second" / "m")
    with load(str(folder), model=moved, device="cpu", cores=1) as scorer:
        assert scorer.embed_texts(["红色的圆"]).shape == (1, 64)
    described = tmp_path / "second" / "m" / "text" / "config.json"
    described.write_text(described.read_text().replace('"gelu"', '"relu"'))
    with pytest.raises(MachineError, match=r"config\.text_cfg\.hf_model_name .* instead of"):
        load(str(folder), model=moved, device="cpu", cores=1)


def test_a_tower_is_known_by_what_describes_it_wherever_it_lies(tmp_path: Path) -> None:
    one = Path(made(tmp_path / "one" / "m", "bert"))
    other = Path(shutil.copytree(one, tmp_path / "other"))
    told = json.loads((other / "open_clip_config.json").read_text())
    told["model_cfg"]["text_cfg"]["hf_model_name"] = "owner/text"
    (other / "open_clip_config.json").write_text(json.dumps(told))
    with (
        open_scorer(settings(str(one)), cores=1) as first,
        open_scorer(settings(str(other)), cores=1) as second,
    ):
        assert first.identity.same(second.identity)


@pytest.fixture
def towerless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A model whose text tower is only on a hub that cannot be reached."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    model = made(tmp_path / "m", "bert", named="owner/text")
    shutil.rmtree(Path(model, "text"))
    return model


def test_a_tower_that_cannot_be_had_stops_with_one_line(towerless: str) -> None:
    for begin in (check, open_scorer):
        with pytest.raises(
            MachineError, match=r"cannot get the text tower 'owner/text' .*a folder 'text'"
        ) as caught:
            begin(settings(towerless))
        assert "\n" not in str(caught.value)


def test_a_tower_stops_the_command_before_anything_is_read(towerless: str, plain: Path) -> None:
    finished = curate("score", plain, "--model", towerless, env=os.environ | {"HF_HUB_OFFLINE": "1"})
    assert finished.returncode == MachineError.exit_code == 3
    assert "cannot get the text tower 'owner/text'" in finished.stderr.splitlines()[-1]


def test_a_tower_without_transformers_says_what_to_install(
    towerless: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(
        MachineError, match=r"the text tower of .* needs transformers: pip install 'curate\[score\]'"
    ):
        check(settings(towerless))


def test_libraries_of_towers_are_imported_with_the_first_model_that_has_one() -> None:
    code = (
        "import sys\n"
        "from curate.scorer.weights import open_clip_module\n"
        "plain = open_clip_module({'text_cfg': {}, 'vision_cfg': {'layers': 2}})\n"
        "assert not {'transformers', 'timm'} & sys.modules.keys()\n"
        "whole = open_clip_module({'text_cfg': {'hf_model_name': 'bert'}, 'vision_cfg': {}})\n"
        "assert whole.hf_model.transformers and whole.timm_model.timm\n"
        "assert whole is not plain and open_clip_module() is whole"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
