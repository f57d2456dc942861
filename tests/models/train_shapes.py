"""Trains the small dual encoder of the tests: shapes and colours, captioned in English and Chinese.

    python -m tests.models.train_shapes [FOLDER]

It takes about two minutes on one core. What it writes (tests/data/scorer/shapes) is in open_clip's own
format: a configuration, a tokenizer of a few dozen words, and weights. **Its scores mean nothing on real
photographs**: it has only ever seen plain shapes on plain grounds.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

FOLDER = Path(__file__).parents[1] / "data" / "scorer" / "shapes"
SIDE = 32
CONTEXT = 16
STEPS, PAIRS = 900, 10  # pairs of colours a batch, each with every shape
SEED = 0

COLOURS = {
    "red": ("红色", (214, 40, 40)),
    "green": ("绿色", (40, 160, 60)),
    "blue": ("蓝色", (40, 70, 210)),
    "yellow": ("黄色", (235, 205, 40)),
    "purple": ("紫色", (140, 50, 160)),
    "white": ("白色", (245, 245, 245)),
    "black": ("黑色", (15, 15, 15)),
}
SHAPES = {"circle": "圆", "square": "方块", "triangle": "三角", "star": "星", "cross": "十字"}
ENGLISH = (
    "a {c} {s} on a {g} ground",
    "a {c} {s}",
    "the picture shows a {c} {s} on a {g} ground",
    "a {g} ground with a {c} {s}",
)
CHINESE = ("{g}背景上的{c}{s}", "一个{c}{s}", "图中{g}背景上有一个{c}{s}", "{c}的{s}在{g}背景上")

MODEL = {
    "embed_dim": 64,
    "vision_cfg": {"image_size": SIDE, "layers": 3, "width": 96, "head_width": 32, "patch_size": 8},
    "text_cfg": {
        "context_length": CONTEXT, "vocab_size": 0, "width": 64, "heads": 2, "layers": 2,
        "hf_tokenizer_name": "shapes",
    },
}  # fmt: skip


def picture(rng: np.random.Generator, shape: str, colour: str, ground: str, side: int = SIDE) -> Image.Image:
    """One shape of one colour on a ground of another, about in the middle."""
    scale = 2  # drawn large and shrunk, for smooth edges
    canvas = Image.new("RGB", (side * scale, side * scale), _near(rng, COLOURS[ground][1]))
    radius = rng.uniform(0.34, 0.44) * side * scale
    x, y = side * scale * (0.5 + rng.uniform(-0.06, 0.06, 2))
    ImageDraw.Draw(canvas).polygon(outline(shape, x, y, radius, rng), fill=_near(rng, COLOURS[colour][1]))
    return canvas.resize((side, side), Image.Resampling.BOX)


def outline(
    shape: str, x: float, y: float, radius: float, rng: np.random.Generator
) -> list[tuple[float, float]]:
    """The corners of a shape around (x, y), turned a little."""
    turn = rng.uniform(-0.15, 0.15)
    if shape == "cross":
        third = 0.3
        arms = [(third, 1), (third, third), (1, third)]
        corners = [(sx * a, sy * b) for sx, sy in ((1, 1), (1, -1), (-1, -1), (-1, 1)) for a, b in
                   (arms if sx == sy else arms[::-1])]  # fmt: skip
        points = np.array(corners)
    else:
        count, inner = {"circle": (40, 1.0), "square": (4, 1.0), "triangle": (3, 1.0), "star": (10, 0.42)}[
            shape
        ]
        angles = np.arange(count) * 2 * np.pi / count - np.pi / 2 + (np.pi / 4 if shape == "square" else 0)
        reach = np.where(np.arange(count) % 2, inner, 1.0)
        points = np.stack([np.cos(angles) * reach, np.sin(angles) * reach], 1)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return [tuple(p) for p in (points @ rotation * radius + (x, y)).tolist()]


def caption(rng: np.random.Generator, shape: str, colour: str, ground: str, language: str) -> str:
    """What the picture shows, in one of a few wordings."""
    if language == "zh":
        return str(rng.choice(CHINESE)).format(c=COLOURS[colour][0], s=SHAPES[shape], g=COLOURS[ground][0])
    return str(rng.choice(ENGLISH)).format(c=colour, s=shape, g=ground)


def draw(rng: np.random.Generator) -> tuple[str, str, str]:
    """A shape, its colour, and another colour for the ground."""
    colour, ground = rng.choice(list(COLOURS), 2, replace=False)
    return str(rng.choice(list(SHAPES))), str(colour), str(ground)


def _near(rng: np.random.Generator, colour: tuple[int, int, int]) -> tuple[int, int, int]:
    r, g, b = np.clip(np.array(colour) + rng.integers(-12, 13, 3), 0, 255).tolist()
    return r, g, b


def write_tokenizer(folder: Path) -> int:
    """A tokenizer of whole English words and single Chinese characters; how many tokens it knows.

    The end token has the highest number: open_clip takes a text's feature from there.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    english = {word for template in ENGLISH for word in template.split() if "{" not in word} | {
        *COLOURS,
        *SHAPES,
    }
    chinese = {
        char for text in (*CHINESE, *SHAPES.values(), *(zh for zh, _ in COLOURS.values())) for char in text
    }
    words = sorted(english) + sorted(char for char in chinese if char > "\u3000")
    vocabulary = {word: number for number, word in enumerate(["<pad>", "<unk>", "<start>", *words, "<end>"])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)  # sets Chinese characters apart
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    ends = [("<start>", vocabulary["<start>"]), ("<end>", vocabulary["<end>"])]
    tokenizer.post_processor = processors.TemplateProcessing(single="<start> $A <end>", special_tokens=ends)
    tokenizer.save(str(folder / "tokenizer.json"))
    told = {
        "tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "<pad>", "unk_token": "<unk>",
        "bos_token": "<start>", "eos_token": "<end>", "model_max_length": CONTEXT,
    }  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(told, indent=1))
    return len(vocabulary)


def write_config(folder: Path) -> None:
    """The model in open_clip's own words."""
    MODEL["text_cfg"]["vocab_size"] = write_tokenizer(folder)  # type: ignore[index]
    statistics = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}
    told = {"model_cfg": MODEL, "preprocess_cfg": statistics}
    (folder / "open_clip_config.json").write_text(json.dumps(told, indent=1))


def train(folder: Path) -> None:
    """Write the whole model, and say how well it does on pictures it has not seen."""
    from safetensors.torch import save_file

    from curate.scorer.weights import open_clip_module

    open_clip = open_clip_module()
    folder.mkdir(parents=True, exist_ok=True)
    write_config(folder)
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    told = json.loads((folder / "open_clip_config.json").read_text())["model_cfg"]
    network = open_clip.model.CLIP(**told)
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, total_steps=STEPS, pct_start=0.15)
    rng, begun = np.random.default_rng(SEED), time.monotonic()
    for step in range(STEPS):
        images, texts = batch(rng)
        found = network.encode_image(images, normalize=True)
        said = network.encode_text(tokenizer(texts), normalize=True)
        logits = network.logit_scale.exp().clamp(max=50) * found @ said.T
        labels = torch.arange(len(texts))
        loss = (
            torch.nn.functional.cross_entropy(logits, labels)
            + torch.nn.functional.cross_entropy(logits.T, labels)
        ) / 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            print(f"step {step} loss {loss.item():.3f} {time.monotonic() - begun:.0f} s", flush=True)
    weights = {name: value.half().contiguous() for name, value in network.state_dict().items()}
    save_file(weights, folder / "open_clip_model.safetensors")
    print(f"{time.monotonic() - begun:.0f} s")


def batch(rng: np.random.Generator) -> tuple[torch.Tensor, list[str]]:
    """Normalised pictures and their captions, half of them in each language, no two showing the same.

    Every pair of colours comes with every shape: colours alone do not tell a batch's captions apart.
    """
    pairs = [(colour, ground) for colour in COLOURS for ground in COLOURS if colour != ground]
    chosen = rng.permutation(len(pairs))[:PAIRS]
    shown = [(shape, *pairs[n]) for n in chosen for shape in SHAPES]
    texts = [caption(rng, *one, language="zh" if rng.random() < 0.5 else "en") for one in shown]
    pixels = np.stack([np.asarray(picture(rng, *one)) for one in shown])
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1
    return images, texts


if __name__ == "__main__":
    train(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
