from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from curate.errors import InputError
from curate.packing.encode import encode, encode_pieces, truncate
from curate.packing.tokenizer import MARKERS, QWEN_SHA256, Tokenizer, load
from curate.tasks import load_dialect
from curate.tasks.chat import Pieces

tokenizers = pytest.importorskip("tokenizers")
sentencepiece = pytest.importorskip("sentencepiece")

TEXTS = ["A dog in the field.", " with two spaces  inside", "猫 été 😀", "(661,612),(833,812)", "x" * 50]
SPECIAL = [*MARKERS, "<imgpad>", "<|endoftext|>"]
IMG = "<img>d/k.jpg</img>"


@pytest.fixture(scope="module")
def qwen() -> Tokenizer:
    return load()


@pytest.fixture(scope="module")
def json_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(byte_fallback=False))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=SPECIAL,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS * 3, trainer)
    path = tmp_path_factory.mktemp("json") / "tokenizer.json"
    tokenizer.save(str(path))
    return path


@pytest.fixture(scope="module")
def sentencepiece_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sp") / "tokenizer.model"
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS * 3),
        model_writer=model,
        vocab_size=400,
        user_defined_symbols=SPECIAL,
        byte_fallback=True,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    path.write_bytes(model.getvalue())
    return path


def test_the_built_in_tokenizer_is_qwens(qwen: Tokenizer) -> None:
    assert qwen.sha256 == QWEN_SHA256
    assert (qwen.end, qwen.image_pad, qwen.size) == (151643, 151859, 151860)
    assert [qwen.markers[name] for name in ("<ref>", "</quad>", "<img>", "</img>")] == [
        151851,
        151856,
        151857,
        151858,
    ]
    assert qwen.encode(["print('hello')", "2048"]) == [[1350, 492, 14990, 863], [17, 15, 19, 23]]


def test_a_ranks_file_reads_like_the_built_in_one(qwen: Tokenizer, tmp_path: Path) -> None:
    import lzma

    from curate.packing.tokenizer import QWEN

    path = tmp_path / "qwen.tiktoken"
    path.write_bytes(lzma.decompress(QWEN.read_bytes()))
    assert load(str(path)).describe() == qwen.describe()


def test_every_kind_of_file_is_told_by_its_content(json_file: Path, sentencepiece_file: Path) -> None:
    assert load(str(json_file)).kind == "tokenizers"
    assert load(str(sentencepiece_file)).kind == "sentencepiece"


def test_text_is_given_back_by_the_tokens_of_each_kind(json_file: Path, sentencepiece_file: Path) -> None:
    ids = load(str(json_file)).encode(TEXTS)
    back = tokenizers.Tokenizer.from_file(str(json_file)).decode_batch(ids)
    assert [text.strip() for text in back] == [text.strip() for text in TEXTS]
    processor = sentencepiece.SentencePieceProcessor(model_file=str(sentencepiece_file))
    plain = TEXTS[:1] + TEXTS[2:4]  # SentencePiece normalises runs of spaces
    assert [processor.decode(ids) for ids in load(str(sentencepiece_file)).encode(plain)] == plain


@pytest.mark.parametrize("kind", ["qwen", "json_file", "sentencepiece_file"])
def test_an_image_is_its_markers_and_paddings_and_only_the_target_is_trained_on(
    kind: str, request: pytest.FixtureRequest
) -> None:
    tokenizer = load("" if kind == "qwen" else str(request.getfixturevalue(kind)))
    found = encode(pa.array([f"{IMG}<ref>dog</ref>"]), pa.array(["<box>(1,2),(3,4)</box>"]), tokenizer, 256)
    tokens, marks = found.tokens.tolist(), tokenizer.markers
    assert tokens[:258] == [marks["<img>"], *[tokenizer.image_pad] * 256, marks["</img>"]]
    said = found.tokens[found.loss].tolist()
    assert (said[0], said[-2], said[-1]) == (marks["<box>"], marks["</box>"], tokenizer.end)
    assert tokens[258] == marks["<ref>"]
    assert tokens[-len(said) - 1] == marks["</ref>"]


@pytest.mark.parametrize("kind", ["qwen", "json_file"])
def test_special_tokens_in_raw_text_are_text(kind: str, request: pytest.FixtureRequest) -> None:
    tokenizer = load("" if kind == "qwen" else str(request.getfixturevalue(kind)))
    (ids,) = tokenizer.encode(["a <|endoftext|> b <imgpad> c"])
    assert not {tokenizer.end, tokenizer.image_pad} & set(ids)


def test_added_tokens_of_a_json_tokenizer_have_its_own_ids_in_raw_text(tmp_path: Path) -> None:
    dialect = load_dialect("qwen3-vl")
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    letters = {letter: number for number, letter in enumerate(alphabet)}
    made = tokenizers.Tokenizer(tokenizers.models.BPE(letters, []))
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.add_special_tokens(list(dialect.tokens))
    made.add_tokens([tokenizers.AddedToken("<think>", special=False), "<plan>"])
    made.save(str(tmp_path / "tokenizer.json"))
    tokenizer = load(str(tmp_path / "tokenizer.json"), dialect=dialect)
    text = "<think><plan></think>"
    pieces = Pieces(pa.array([text], pa.large_string()), np.array([True]), np.array([True]), np.array([0, 1]))
    tokens = encode_pieces(pieces, np.zeros(1, bool), tokenizer).tokens.tolist()
    assert tokens[:2] == [made.token_to_id("<think>"), made.token_to_id("<plan>")]
    assert tokens[2:] == [letters[letter] for letter in "</think>"]  # the file lacks it


def test_prompt_and_target_are_encoded_as_the_whole_string_would_be(qwen: Tokenizer) -> None:
    prompt, target = f"{IMG} What is it? Answer:", " a dog, 猫"
    found = encode(pa.array([prompt]), pa.array([target]), qwen, 0)
    (whole,) = qwen.encode([" What is it? Answer: a dog, 猫"])
    assert found.tokens.tolist() == [qwen.markers["<img>"], qwen.markers["</img>"], *whole, qwen.end]


def test_text_is_composed_as_qwens_tokenizer_does(qwen: Tokenizer) -> None:
    decomposed, composed = qwen.encode(["e\u0301te\u0301", "été"])
    assert decomposed == composed


def test_a_tokenizer_without_the_formats_tokens_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bare.json"
    tokenizers.Tokenizer(tokenizers.models.BPE({"a": 0, "<img>": 1}, [])).save(str(path))
    with pytest.raises(
        InputError, match=r"lacks </img>, <ref>.*, <imgpad>, <\|endoftext\|> or </s>"
    ) as caught:
        load(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{}", b"{", b"\x00\x01\x02", b"a 1\n??? x\n", b"YQ== 0\nYQ==\n"])
def test_a_file_that_is_no_tokenizer_is_refused_on_one_line(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "broken"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        load(str(path))
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="cannot read the tokenizer"):
        load(str(tmp_path / "absent"))


def test_a_cut_falls_between_whole_things_and_never_into_an_image_or_a_box(qwen: Tokenizer) -> None:
    box = "<box>(1,2),(3,4)</box>"
    target = f" a <ref>dog</ref>{box}{box} and <ref>a cat</ref>{box} sit here"
    whole = encode(pa.array([f"{IMG}Say:"]), pa.array([target]), qwen, 8)
    head = int((~whole.loss).sum())
    closers = {qwen.markers["</box>"]}
    for limit in range(1, int(whole.lengths()[0])):
        cut = truncate(whole, qwen, limit)
        tokens = cut.tokens.tolist()
        if len(tokens) > limit:
            assert limit <= head + 1  # a lone space says nothing
            continue
        assert tokens == whole.tokens[: len(tokens)].tolist()
        for opening, closing in (("<ref>", "</ref>"), ("<box>", "</box>"), ("<img>", "</img>")):
            assert tokens.count(qwen.markers[opening]) == tokens.count(qwen.markers[closing])
        refs = [place for place, token in enumerate(tokens) if token == qwen.markers["</ref>"]]
        assert all(closers & set(tokens[place:]) for place in refs)


def test_samples_that_fit_are_not_cut(qwen: Tokenizer) -> None:
    both = encode(pa.array([f"{IMG}Say:", ""]), pa.array([" a dog", "long " * 50]), qwen, 8)
    cut = truncate(both, qwen, 20)
    assert cut.lengths().tolist() == [int(both.lengths()[0]), 20]
    assert np.array_equal(cut.tokens[: both.starts[1]], both.tokens[: both.starts[1]])


def test_nothing_encodes_to_nothing(qwen: Tokenizer) -> None:
    empty = encode(pa.array([], pa.string()), pa.array([], pa.string()), qwen, 8)
    assert len(empty.tokens) == 0
    assert empty.starts.tolist() == [0]


def test_json_tokenizers_are_described_by_their_own_hash(json_file: Path) -> None:
    import hashlib

    described = load(str(json_file)).describe()
    assert described["sha256"] == hashlib.sha256(json_file.read_bytes()).hexdigest()
    assert described["vocabulary"] == json.loads(json_file.read_text())["model"]["vocab"].__len__()
