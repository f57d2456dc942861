"""How fast are all rules and cleaners of A.1 on metadata, against the ways it is done elsewhere?

    python benchmarks/rules.py --data ../shared/data [--rows 1000000] [--data-juicer FOLDER]

One process, one thread, in seconds of CPU time, since the machine may be shared. The rows are real LAION
captions repeated with changes, with their URLs, and with sizes and similarities drawn as LAION's are. Peers:
(a) the same rules row by row with `regex`; (b) data-juicer's nearest operators, in a virtual environment of
their own that is made under FOLDER; (c) reading and writing the same columns, without rules. (a) and (b) are
run on fewer rows and scaled.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import regex

from filters import CLEANERS, judge
from filters import html as html_cleaner
from filters import text as text_rules
from filters.catalogue import CATALOGUE
from filters.patterns import PATTERNS

IMAGE_RULES: dict[str, dict[str, Any]] = {
    "image_too_elongated": {"max_ratio": 3.0},
    "image_too_small": {"min_side": 200},
    "clip_score_too_low": {"min_score": 0.3},
}
TEXT_RULES: dict[str, dict[str, Any]] = {
    "text_has_other_script": {},
    "text_has_emoji": {},
    "text_too_short": {"min_chars": 5},
    "text_too_long": {"max_chars": 256},
}
JUICER = """
dataset_path: {data}
export_path: {out}
np: 1
use_cache: false
open_monitor: false
process:
  - specified_numeric_field_filter: {{field_key: width, min_value: 200}}
  - specified_numeric_field_filter: {{field_key: height, min_value: 200}}
  - specified_numeric_field_filter: {{field_key: clip_score, min_value: 0.3}}
  - clean_html_mapper:
  - clean_links_mapper:
  - clean_email_mapper:
  - whitespace_normalization_mapper:
  - punctuation_normalization_mapper:
  - special_characters_filter: {{max_ratio: 0.4}}
  - alphanumeric_filter: {{min_ratio: 0.3}}
  - text_length_filter: {{min_len: 5, max_len: 256}}
"""


def realistic(data: Path, rows: int) -> pa.Table:
    """Real captions repeated, each time with one more of their words somewhere inside, and drawn sizes."""
    sample = (data / "laion/laion400m_10k/laion400m_sample.jsonl").read_text(encoding="utf-8").split("\n")
    pairs = [json.loads(line) for line in sample if line]
    chance, numbers = random.Random(0), np.random.default_rng(0)
    words = [word for pair in pairs for word in pair["TEXT"].split() if word.isalpha()]
    texts = []
    for i in range(rows):
        parts = pairs[i % len(pairs)]["TEXT"].split(" ")
        parts.insert(chance.randrange(len(parts)), chance.choice(words))
        texts.append(" ".join(parts))
    width = np.exp(numbers.normal(6.1, 0.6, rows)).astype(np.int32)
    height = (width * np.exp(numbers.normal(0, 0.45, rows))).astype(np.int32)
    return pa.table(
        {
            "url": pa.array([f"{pairs[i % len(pairs)]['URL']}?v={i}" for i in range(rows)]),
            "text": pa.array(texts),
            "width": width,
            "height": height,
            "clip_score": np.maximum(numbers.normal(0.325, 0.03, rows), 0.28).astype(np.float32),
        }
    )


def curated(table: pa.Table) -> pa.Table:
    """The table with clean texts and each row's reason: cheap rules first, only the living are cleaned."""
    reason = judge(table, IMAGE_RULES).reason
    alive = pc.is_null(reason)
    text = CLEANERS["patterns"].clean(CLEANERS["html"].clean(table["text"].filter(alive)))
    found = judge(pa.table({"text": text}), TEXT_RULES).reason
    dirty = table["text"].combine_chunks()
    clean = pc.replace_with_mask(dirty, alive, text)
    reason = pc.replace_with_mask(reason, alive, found)
    return table.set_column(1, "text", clean).append_column("dropped", reason)


Row = tuple[str, int, int, float]  # text, width, height, score
Answer = tuple[str, str | None]  # clean text, reason


def compiled(pattern: str) -> regex.Pattern[str]:
    """A pattern of RE2's as `regex` takes it."""
    flags = regex.ASCII if not re.search(r"\\p\{?[LH]", pattern) else 0
    return regex.compile(re.sub(r"\\x\{(\w+)\}", lambda m: f"\\U{int(m[1], 16):08X}", pattern), flags)


def cleaner_by_row() -> Callable[[str], str]:
    others = [pattern for pattern in CATALOGUE if pattern.name != "slugs"]
    steps = [(compiled(found), put) for pattern in others for found, put in pattern.steps]
    slug = compiled(f"^(?:{PATTERNS['slugs'].start})")

    def clean(text: str) -> str:
        text, before = html_cleaner.plain(text), None
        while text != before:
            before = text
            for found, put in steps:
                text = found.sub(put, text)
            if slug.search(text):
                text = re.sub("[_-]+", " ", text)
        return text

    return clean


def judge_by_row() -> Callable[[str], str | None]:
    foreign, emoji = compiled(text_rules.foreign("")), compiled(text_rules.EMOJI)
    sequence = compiled(text_rules.EMOJI_SEQUENCE)

    def verdict(text: str) -> str | None:
        if foreign.search(text) and foreign.search(sequence.sub("", text)):
            return "text_has_other_script"
        if emoji.search(text):
            return "text_has_emoji"
        return "text_too_short" if len(text.strip()) < 5 else "text_too_long" if len(text) > 256 else None

    return verdict


def by_row() -> Callable[[Iterator[Row]], list[Answer]]:
    """The same, row by row."""
    clean, verdict = cleaner_by_row(), judge_by_row()

    def run(rows: Iterator[Row]) -> list[Answer]:
        out: list[Answer] = []
        for text, width, height, score in rows:
            if max(width, height) > 3 * min(width, height):
                out.append((text, "image_too_elongated"))
            elif min(width, height) < 200:
                out.append((text, "image_too_small"))
            elif score < np.float32(0.3):
                out.append((text, "clip_score_too_low"))
            else:
                text = clean(text)
                out.append((text, verdict(text)))
        return out

    return run


def data_juicer(folder: Path, table: pa.Table) -> float:
    """Seconds of data-juicer for the table, its start-up (the same on 100 rows) taken off."""
    home = folder / "data-juicer"
    if not home.exists():
        subprocess.run([sys.executable, "-m", "venv", home], check=True)
        packages = ("py-data-juicer", "aiohttp", "selectolax")
        subprocess.run([home / "bin/pip", "install", "-q", *packages], check=True)

    def seconds(rows: pa.Table) -> float:
        with tempfile.TemporaryDirectory() as work:
            data, config = Path(work) / "in.jsonl", Path(work) / "config.yaml"
            with data.open("w", encoding="utf-8") as file:
                file.writelines(json.dumps(row) + "\n" for row in rows.to_pylist())
            config.write_text(JUICER.format(data=data, out=Path(work) / "out.jsonl"))
            start = os.times()
            command = [home / "bin/dj-process", "--config", config]
            subprocess.run(command, check=True, capture_output=True, cwd=work)
            end = os.times()
            return end.children_user - start.children_user + end.children_system - start.children_system

    return seconds(table) - seconds(table.slice(0, 100))


def timed(function: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    result = function()
    return time.process_time() - start, result


def against_rows(table: pa.Table, result: pa.Table) -> tuple[float, float]:
    """Seconds that the rows of a table take one by one, and the share that gets the same answer."""
    columns = (table[name].to_pylist() for name in ("text", "width", "height", "clip_score"))
    rows = list(zip(*columns, strict=True))
    taken, expected = timed(lambda: by_row()(iter(rows)))
    answers = zip(result["text"].to_pylist(), result["dropped"].to_pylist(), strict=True)
    return taken, sum(a == b for a, b in zip(expected, answers, strict=True)) / len(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rows-by-row", type=int, default=10_000)
    parser.add_argument("--rows-data-juicer", type=int, default=20_000)
    parser.add_argument("--data-juicer", type=Path, help="folder for data-juicer's virtual environment")
    options = parser.parse_args()
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    with tempfile.TemporaryDirectory() as work:
        source, target = Path(work) / "in.parquet", Path(work) / "out.parquet"
        pq.write_table(realistic(options.data, options.rows), source, compression="zstd")

        def through(change: Callable[[pa.Table], pa.Table]) -> None:
            table = pq.read_table(source, use_threads=False)
            pq.write_table(change(table), target, compression="zstd")

        floor = min(timed(lambda: through(lambda table: table))[0] for _ in range(3))
        whole = min(timed(lambda: through(curated))[0] for _ in range(3))
        table = pq.read_table(source, use_threads=False)
        ours, result = min((timed(lambda: curated(table)) for _ in range(3)), key=lambda pair: pair[0])
        part, mine = (rows.slice(0, options.rows_by_row) for rows in (table, result))
        one_by_one, same = against_rows(part, mine)
        one_by_one *= options.rows / len(part)
    print(f"rows                        {options.rows:,}")
    print(f"funnel                      {dict(Counter(result['dropped'].to_pylist()))}")
    print(f"rules and cleaners          {ours:8.2f} s   {options.rows / ours:12,.0f} rows/s")
    print(
        f"(a) by row with regex       {one_by_one:8.2f} s   {one_by_one / ours:8.1f}x, same answer {same:.2%}"
    )
    print(f"(c) read and write          {floor:8.2f} s")
    print(f"    read, rules, write      {whole:8.2f} s   {whole / floor:8.2f}x of (c)")
    if options.data_juicer:
        taken = data_juicer(options.data_juicer, table.slice(0, options.rows_data_juicer))
        taken *= options.rows / min(options.rows_data_juicer, options.rows)
        print(f"(b) data-juicer             {taken:8.2f} s   {taken / ours:8.1f}x")


if __name__ == "__main__":
    main()
