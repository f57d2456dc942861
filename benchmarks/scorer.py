"""How fast pairs are scored from shards, against a plain open_clip + DataLoader loop and the model alone.

    python -m benchmarks.scorer [MODEL] [--pairs N] [--rounds N] [--device D] [--precision P] [--images DIR]
        [--clip-retrieval PYTHON]

MODEL is an open_clip name (random weights: speed does not depend on them) or a folder. Every round runs each
of them once, one after the other, so that a noisy machine is noisy to all; what is printed are medians, and
medians of the ratios within a round.

    plain   open_clip as its README shows it: a DataLoader (a worker a core) decodes with open_clip's own
            preprocessing and tokenizes; images and texts are encoded at the same precision. On a CPU also
            with one torch thread, which is faster where other work is on the machine
    ours    the same shards as `curate score` takes them, written anew with their scores; on a GPU by Ray
            tasks on all cores. The same with --exact, in this process
    model   the features of images in memory and of texts: the limit
    clip-retrieval
            its inference worker on the same rows as WebDataset files, where PYTHON is the interpreter of an
            environment that has it. Its model is loaded and warm before the first round
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import torch
from PIL import Image

from benchmarks.scorer_peers import clip_retrieval, plain_loop
from curate.engine.progress import Progress
from curate.engine.worker import Job
from curate.manifest.settings import ScorerSettings, ShardSettings
from curate.schema import SAMPLE, SHARD, shard_metadata
from curate.scorer import open_scorer
from curate.scorer.encoder import Waiter, blank
from curate.scorer.scorer import Scorer
from curate.scorer.weights import locate, open_clip_module
from curate.scoring.command import runner_of
from curate.scoring.shard import Done, ScoringTerms
from curate.scoring.shard_jobs import ScoringRun
from curate.storage.listing import SHARDS, files_table, write_files
from curate.storage.shards import Shard, image_path, shard_name, to_shard, write_tables
from curate.storage.store import Store
from curate.tasks import render

SHARED = Path(__file__).parents[2] / "shared" / "data" / "coco" / "images"
PEAK_TFLOPS = {"H100": 989.0, "H200": 989.0, "A100": 312.0, "L4": 121.0}  # dense bf16, as sold
WORDS = tuple("a photo of the old red harbour with two small boats under tall trees in winter".split())  # noqa: SIM905


def bodies(count: int, folder: Path) -> Iterator[bytes]:
    """JPEGs: those of the folder, over and over, each made different; else made ones of 640 x 480."""
    found = sorted(folder.rglob("*.jpg"))
    for number in range(count):
        if found:
            yield found[number % len(found)].read_bytes() + number.to_bytes(
                4, "little"
            )  # trailing bytes are ignored
        else:
            rng = np.random.default_rng(number)
            coarse = Image.fromarray(rng.integers(0, 255, (24, 32, 3), np.uint8))
            out = io.BytesIO()
            coarse.resize((640, 480), Image.Resampling.BICUBIC).save(out, "JPEG", quality=90)
            yield out.getvalue()


def text(rng: random.Random) -> str:
    """A caption of 5 to 25 words."""
    return " ".join(rng.choices(WORDS, k=rng.randint(5, 25)))


def write_shards(folder: str, pairs: int, images: Path) -> list[tuple[str, int]]:
    """Shards of at most 1,000 such images with captions of 5 to 25 words; their paths and rows."""
    rng, store, made = random.Random(0), Store(folder), list[Shard]()
    rows = [
        {"key": f"{n:032x}", "dataset": "made", "task": "caption", "language": "en", "source": f"made#{n}",
         "image": body, "format": "jpeg", "width": 640, "height": 480, "text": text(rng)}
        for n, body in enumerate(bodies(pairs, images))
    ]  # fmt: skip
    schema = SHARD.with_metadata(shard_metadata("made"))
    size = min(1000, -(-pairs // 2))
    for unit, part in enumerate(rows[first : first + size] for first in range(0, pairs, size)):
        table = pa.Table.from_pylist(part, SAMPLE)
        image = table["image"].combine_chunks().cast(pa.binary())
        shard = to_shard(table, image, *render(table, image_path(table)))
        groups = [shard.slice(first, 100) for first in range(0, len(part), 100)]
        written = write_tables(store, shard_name(unit, 0), groups, schema, ShardSettings())
        made.append(written)
    write_files(store, SHARDS, files_table(made))
    return [(one.path, one.rows) for one in made]


def random_weights(name: str, where: Path) -> ScorerSettings:
    """Settings for a model of that architecture with random weights."""
    from safetensors.torch import save_file

    if Path(name).is_dir():
        return ScorerSettings(model=name)
    open_clip = open_clip_module()
    torch.manual_seed(0)
    network = open_clip.create_model(name)
    save_file(
        {key: value.contiguous() for key, value in network.state_dict().items()}, where / "random.safetensors"
    )
    return ScorerSettings(model=name, pretrained=str(where / "random.safetensors"))


def ours(
    held: ExitStack, folder: str, settings: ScorerSettings, workers: int | None, shards: int
) -> Callable[[], None]:
    """From shards to shards with scores, as `curate score` does it."""
    terms = ScoringTerms(name="", features=True, threshold=None, drops_sample=1.0, shard=ShardSettings())
    run = ScoringRun(out=folder, scorer=settings, terms=terms)
    runner = held.enter_context(runner_of(run, workers, None, Progress.silent(), shards))

    def score() -> None:
        for _, results in runner.map(Job("score", (number,)) for number in range(shards)):
            assert all(isinstance(one, Done) and not one.failed for one in results), results

    return score


def model_alone(scorer: Scorer, pairs: int) -> Callable[[], None]:
    """As many images and texts, in memory and decoded already."""
    encoder, rng = scorer.encoder, random.Random(0)
    batches = [min(encoder.batch, pairs - first) for first in range(0, pairs, encoder.batch)]
    rooms = {rows: blank(encoder, rows) for rows in {*batches}}
    texts = [text(rng) for _ in range(pairs)]

    def run() -> None:
        waiting: list[Waiter] = []
        for rows in batches:
            waiting.append(encoder.images(rooms[rows]))
            if len(waiting) > encoder.in_flight:
                waiting.pop(0)()
        for one in waiting:
            one()
        encoder.texts(texts)()

    return run


def flops(scorer: Scorer) -> float:
    """Of one pair, its text at full length."""
    from torch.utils.flop_counter import FlopCounterMode

    model, frame = scorer.encoder.model, scorer.framing  # type: ignore[attr-defined]
    grey = torch.zeros(1, 3, frame.height, frame.width, device=model.device, dtype=model.dtype)
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        model.network.encode_image(grey)
        model.network.encode_text(model.tokenizer(["a photo"]).to(model.device))
    return float(counter.get_total_flops())


def machine(scorer: Scorer) -> str:
    device = scorer.encoder.model.device  # type: ignore[attr-defined]
    cores = len(os.sched_getaffinity(0))
    return (
        f"{torch.cuda.get_device_name(device)}, {cores} cores"
        if device.type == "cuda"
        else f"CPU, {cores} cores"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", nargs="?", default="ViT-B-32")
    parser.add_argument("--pairs", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--images", type=Path, default=SHARED)
    parser.add_argument("--clip-retrieval", type=Path, metavar="PYTHON")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        shards = write_shards(folder, asked.pairs, asked.images)
        settings = msgspec.structs.replace(
            random_weights(asked.model, Path(folder)), device=asked.device, precision=asked.precision
        )
        to_the_pixel = msgspec.structs.replace(settings, exact=True)
        with ExitStack() as held:
            scorer = held.enter_context(open_scorer(settings))
            works = {
                "plain": plain_loop(scorer, folder, shards),
                "plain, 1 thread": plain_loop(scorer, folder, shards, threads=1),
                "ours": ours(held, folder, settings, None, len(shards)),
                "ours, exact": ours(held, folder, to_the_pixel, 0, len(shards)),
                "model alone": model_alone(scorer, asked.pairs),
            }
            if asked.clip_retrieval:
                weights = locate(settings).weights
                peer = clip_retrieval(asked.clip_retrieval, scorer, folder, shards, weights)
                works["clip-retrieval"] = held.enter_context(peer)
            measure(scorer, works, asked)


def measure(scorer: Scorer, works: dict[str, Callable[[], None]], asked: argparse.Namespace) -> None:
    """Run each work once a round, and print rates."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    busy: list[float] = []
    for number in range(asked.rounds + 1):
        for name, work in works.items():
            with utilization(busy if number and name == "ours" else []):
                begun = time.perf_counter()
                work()
                taken = time.perf_counter() - begun
            if number:  # the first round warms up
                seconds[name].append(taken)
    rates = {name: asked.pairs / statistics.median(taken) for name, taken in seconds.items()}
    how = f"{scorer.identity.precision} on {machine(scorer)}"
    print(f"{asked.model} {how}, {asked.pairs} pairs, {asked.rounds} rounds")
    for name, rate in rates.items():
        spread = " ".join(f"{asked.pairs / one:.1f}" for one in seconds[name])
        ratio = statistics.median(p / t for p, t in zip(seconds["plain"], seconds[name], strict=True))
        print(f"  {name:16} {rate:10.1f} pairs/s   {ratio:.2f} x plain in the same round   ({spread})")
    print(f"  ours is {rates['ours'] / rates['model alone']:.0%} of the model alone")
    if busy:
        print(f"  the GPU was busy {statistics.mean(busy):.0f} % of the time of ours, says nvidia-smi")
    print(f"  {flops(scorer) / 1e9:.1f} GFLOP a pair; {share_of_peak(scorer, rates['ours'])}")
    print(json.dumps({"rates": rates, "seconds": seconds}))


@contextmanager
def utilization(samples: list[float]) -> Iterator[None]:
    """Add what nvidia-smi says meanwhile, five times a second, to `samples` (per cent), if it is there."""
    program = shutil.which("nvidia-smi")
    if program is None:
        yield
        return
    query = [program, "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "-lms", "200"]
    with subprocess.Popen(query, stdout=subprocess.PIPE, text=True) as process:
        yield
        process.terminate()
        samples += [float(line) for line in process.communicate()[0].split() if line.isdigit()]


def share_of_peak(scorer: Scorer, rate: float) -> str:
    """Of the GPU's peak, counting texts at full length."""
    device = scorer.encoder.model.device  # type: ignore[attr-defined]
    if device.type != "cuda":
        return "no GPU"
    name = torch.cuda.get_device_name(device)
    peak = next((value for key, value in PEAK_TFLOPS.items() if key in name), None)
    share = f"{rate * flops(scorer) / 1e12 / peak:.0%} of {peak:.0f} TFLOPS" if peak else "peak unknown"
    return f"{share}; peak memory {torch.cuda.max_memory_allocated(device) / 2**30:.1f} GiB"


if __name__ == "__main__":
    main()
