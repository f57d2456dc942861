"""The SHA-256 of everything that a set of commands writes: tells whether a change to the code changes output.

    python -m tests.same_bytes DIGESTS.json            # run every case, write down what came out
    python -m tests.same_bytes DIGESTS.json --check    # run every case again, exit 1 and name what differs

The cases are the samples of all built-in manifests, the PDF, HTML, RefCOCO and LAION inputs of `../shared/data`
where that folder is there, and packs and exports of some of them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
DATA = ROOT.parent / "shared" / "data"
IMAGES = ROOT / "manifests" / "samples" / "images"
OFFLINE = (
    "--set",
    "fetch.total_timeout_s=0.5",
    "--set",
    "fetch.outage_patience_s=0",
    "--set",
    "fetch.retries=0",
)
SEEDED = ("synthdog-en", "synthdog-zh")
FORMATS = ("webdataset", "energon", "mds", "qwen-vl")


def curate(*arguments: object) -> None:
    """Run the command line; what it says is shown when it fails."""
    command = [sys.executable, "-m", "curate", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode not in (0, 1):
        sys.exit(f"{' '.join(command)}\n{done.stderr}")


def built_in() -> list[str]:
    """The names of the built-in manifests."""
    return sorted(path.stem for path in (ROOT / "manifests").glob("*.toml"))


def runs(out: Path) -> None:
    """Every built-in manifest on its sample, then the inputs of the shared data."""
    for name in built_in():
        limit = ("--limit", 8) if name in SEEDED else ()
        curate("run", name, "--out", out / "sample" / name, "--workers", 0, *limit)
    if not DATA.is_dir():
        return
    for name, data, more in (
        ("pdf", "pdf", ()),
        ("html", "html", ()),
        ("refcoco", "refcoco", ("--set", f"image.folder={DATA / 'coco' / 'images'}", "--set", "only={}")),
        (
            "laion",
            "laion/laion400m_10k",
            ("--limit", 3000, "--set", "fetch.name_servers=['127.0.0.1:9']", *OFFLINE),
        ),
    ):
        curate("run", name, "--out", out / "data" / name, "--workers", 0, "--input", DATA / data, *more)


def derived(out: Path) -> None:
    """Packs and exports of the samples' shards."""
    made = [out / "sample" / name for name in ("laion", "vqav2", "visual-genome", "text", "pdf", "grit")]
    curate("pack", *made, "--out", out / "packs", "--truncate")
    for form in FORMATS:
        curate("export", out / "sample" / "visual-genome", "--to", form, "--out", out / "export" / form)


def digests(out: Path) -> dict[str, str]:
    """The hash of every file but those that hold times."""
    found = {}
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out).as_posix()
        if (
            path.is_file()
            and "/_run/" not in f"/{name}"
            and path.name not in ("_manifest.json", "_pack.json")
        ):
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def main() -> None:
    """Write the digests, or compare with those of an earlier run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path)
    parser.add_argument("--check", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        runs(Path(folder))
        derived(Path(folder))
        found = digests(Path(folder))
    if not asked.check:
        asked.file.write_text(json.dumps(found, indent=1))
        return
    before = json.loads(asked.file.read_text())
    differing = sorted(name for name in before | found if before.get(name) != found.get(name))
    print(f"{len(before)} files before, {len(found)} now, {len(differing)} differ", *differing[:50], sep="\n")
    sys.exit(bool(differing))


if __name__ == "__main__":
    main()
