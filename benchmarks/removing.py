"""Does a removal touch more than the shards that it must, and what does it cost beside writing everything again?

    python benchmarks/removing.py                 # 1,000 rows of 10,000 shards; some minutes on two cores
    python benchmarks/removing.py --shards 1000 --rows 100

Synthetic shards, 20 rows of some 4 KB each. Three ways to a folder without the listed rows, in one run: `curate
remove`; pyarrow reading every shard, filtering it and writing it; and a plain copy of the folder, which removes
nothing. Told are seconds, bytes on disk that are new, and shards written.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
ROWS = 20  # a shard
IMAGE_BYTES = 4096


def make(folder: Path, shards: int) -> list[str]:
    """A folder that looks like a finished run's; the keys of its rows."""
    import curate
    from curate.manifest.settings import ShardSettings
    from curate.schema import SHARD, shard_metadata
    from curate.storage.listing import SHARDS, files_table, write_files
    from curate.storage.shards import Shard, shard_name, writer_options
    from curate.storage.store import Store

    manifest = curate.run("laion", folder, workers=0, progress=False).raw
    shutil.rmtree(folder / "_run")
    shutil.rmtree(folder / "_dropped")
    (folder / "_manifest" / "dropped.parquet").unlink()
    template = pq.read_table(next(folder.glob("shard-*.parquet"))).slice(0, ROWS)
    schema = SHARD.with_metadata(shard_metadata(manifest["manifest_digest"]))
    options = writer_options(schema, ShardSettings().compression_level)
    rng, files, every = np.random.default_rng(0), [], []
    for unit in range(shards):
        keys = [hashlib.md5(f"{unit} {row}".encode()).hexdigest() for row in range(ROWS)]
        bodies = [rng.bytes(IMAGE_BYTES) for _ in range(ROWS)]
        image = [{"bytes": body, "path": f"laion/{key}.jpg"} for body, key in zip(bodies, keys, strict=True)]
        made = {
            "key": keys,
            "image": image,
            "url": [f"https://host{unit % 997}.example/{key}.jpg" for key in keys],
        }
        table = template
        for name, values in made.items():
            place = table.schema.get_field_index(name)
            table = table.set_column(place, name, pa.array(values, table.schema.field(name).type))
        path = folder / shard_name(unit, 0)
        pq.write_table(table.cast(schema), path, **options)
        files.append(
            Shard(path.name, ROWS, path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())
        )
        every += keys
    write_files(Store(str(folder)), SHARDS, files_table(files))
    told = manifest | {"rows_in": len(every), "rows_out": len(every), "dropped": {}, "shards": []}
    (folder / "_manifest.json").write_text(json.dumps(told))
    return every


def rewritten(source: Path, out: Path, keys: list[str]) -> int:
    """Every shard read, filtered and written by pyarrow; how many were."""
    out.mkdir()
    gone = pa.array(keys)
    names = sorted(source.glob("shard-*.parquet"))
    for path in names:
        table = pq.read_table(path)
        pq.write_table(table.filter(pc.invert(pc.is_in(table["key"], gone))), out / path.name)
    return len(names)


def copied(source: Path, out: Path, _: list[str]) -> int:
    """The whole folder as it is."""
    shutil.copytree(source, out)
    return len(list(out.glob("shard-*.parquet")))


def removed(source: Path, out: Path, keys: list[str]) -> int:
    """`curate remove`; how many shards were written again."""
    import curate

    (source.parent / "list.txt").write_text("\n".join(keys))
    found = curate.remove(source, source.parent / "list.txt", out)
    assert found.rows_removed == len(keys), found
    return found.rewritten + found.emptied


def new_bytes(out: Path) -> int:
    """Bytes that lie in the folder and in no other."""
    return sum(path.stat().st_size for path in out.rglob("*") if path.is_file() and path.stat().st_nlink == 1)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shards", type=int, default=10_000)
    parser.add_argument("--rows", type=int, default=1_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="curate-removing-") as folder:
        source = Path(folder) / "run"
        keys = make(source, asked.shards)
        chosen = [keys[n] for n in np.random.default_rng(1).choice(len(keys), asked.rows, replace=False)]
        place = {key: number for number, key in enumerate(keys)}
        touched = len({place[key] // ROWS for key in chosen})
        print(
            f"{asked.rows:,} rows of {touched:,} among {asked.shards:,} shards; load {os.getloadavg()[0]:.1f}"
        )
        seconds: dict[str, float] = {}
        ways: dict[str, Any] = {"curate remove": removed, "pyarrow, all": rewritten, "copy alone": copied}
        for name, way in ways.items():
            begun = time.monotonic()
            written = way(source, Path(folder) / "out", chosen)
            seconds[name] = time.monotonic() - begun
            size = new_bytes(Path(folder) / "out") / 1e6
            ratio = seconds[name] / seconds["curate remove"]
            print(
                f"{name:15} {seconds[name]:8.1f} s  {ratio:5.1f}x  {written:7,} shards written  {size:8.1f} MB new"
            )
            shutil.rmtree(Path(folder) / "out")


if __name__ == "__main__":
    main()
