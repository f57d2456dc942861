"""The data card: `README.md` as the Hugging Face Hub reads it, `croissant.json`, and `domains.csv`.

Most of their content comes from `_manifest.json`; domains and the licences of rows are counted in the shards.

The card's YAML names the shards as the only data files, so `datasets.load_dataset(DIR)` reads nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from curate.engine.journal import OUR_CARD
from curate.engine.retry import finished_manifest
from curate.engine.tombstones import REASON
from curate.errors import DamagedError
from curate.reporting.croissant import describe
from curate.reporting.provenance import Provenance, domains_csv, periods, provenance
from curate.schema import LANGUAGES
from curate.storage.filesystems import one_line
from curate.storage.finished import listed_files
from curate.storage.store import Store
from curate.terminal import plural

README, CROISSANT, DOMAINS = "README.md", "croissant.json", "domains.csv"
NAMED = 20  # the card lists at most so many domains, and so many licences of rows
SPDX = re.compile(r"(?:CC-[A-Z0-9.-]+|CC0-1\.0|Apache-2\.0|MIT|BSD-3-Clause|ODC-By-1\.0)\b")
CATEGORIES = {
    "caption": "image-to-text",
    "grounded_caption": "image-to-text",
    "region_caption": "image-to-text",
    "ocr": "image-to-text",
    "vqa": "visual-question-answering",
    "ocr_vqa": "visual-question-answering",
    "referring": "object-detection",
    "text": "text-generation",
}
SIZES = ("n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M", "100M<n<1B", "1B<n<10B")


def write(folder: str, languages: Sequence[str] = ()) -> dict[str, Any]:
    """Write `README.md`, `croissant.json` and, where rows have URLs, `domains.csv` of a complete run into its folder.

    `languages` are those that its rows have (`en`, `zh`); where there are none, the card names the manifest's.

    The result names the files written (`wrote`) and those a person wrote, which are left alone (`left`).

    Raises:
        InputError: the folder holds no complete run.
        DamagedError: a shard cannot be read.
        OSError: the folder cannot be written to.
    """
    manifest, store = finished_manifest(folder), Store(folder)
    shards = listed_files(store, manifest)
    manifest = manifest | {"shards": shards.select(["path", "rows", "bytes", "sha256"]).to_pylist()}
    found = _provenance(store, shards["path"].to_pylist())
    croissant = msgspec.json.format(msgspec.json.encode(describe(manifest, found)), indent=1)
    store.write_bytes(CROISSANT, croissant)
    wrote = [CROISSANT]
    if found is not None and found.host_rows:
        store.write_bytes(DOMAINS, domains_csv(found))
        wrote.append(DOMAINS)
    before = store.read_bytes(README)
    if before is not None and OUR_CARD.encode() not in before:
        return {"wrote": wrote, "left": [README]}
    store.write_bytes(README, readme(manifest, languages, found).encode())
    return {"wrote": [README, *wrote], "left": []}


def _provenance(store: Store, shards: Sequence[str]) -> Provenance | None:
    """Count where the rows come from; None where the folder lacks its shards (the card is then made without)."""
    if not shards or not store.exists(shards[0]):
        return None
    try:
        return provenance(store, shards)
    except (OSError, ValueError) as error:
        raise DamagedError(
            f"cannot read {store.uri}: {one_line(error)}; `curate verify` names what is damaged"
        ) from None


def readme(
    manifest: Mapping[str, Any], languages: Sequence[str] = (), found: Provenance | None = None
) -> str:
    """The data card of a complete run as Markdown.

    `manifest` is the whole of `_manifest.json`, `languages` are those that the rows have (none: the manifest's), and
    `found` says where the rows come from (None: the card has no sections on domains and licences of rows).
    """
    of = manifest["manifest"]
    parts = [
        f"---\n{front_matter(manifest, languages)}\n---\n{OUR_CARD}",
        f"# {_line(of['title'])}",
        f"{manifest['rows_out']:,} training samples, made by curate "
        f"{manifest['curate_version']} from {plural(manifest['rows_in'], 'row')}.",
    ]
    return "\n\n".join([*parts, *_sections(manifest, found)]) + "\n"


def front_matter(manifest: Mapping[str, Any], languages: Sequence[str] = ()) -> str:
    """The card's YAML header: the Hub lists the data set by it, and `datasets` finds the data files by it."""
    from huggingface_hub import DatasetCardData

    of = manifest["manifest"]
    card = DatasetCardData(
        pretty_name=_line(of["title"]),
        language=sorted(languages) or (list(LANGUAGES) if of["language"] == "auto" else [of["language"]]),
        task_categories=[CATEGORIES[of["task"]]] if of["task"] in CATEGORIES else None,
        size_categories=[size_category(manifest["rows_out"])],
        source_datasets=["extended"],
        tags=["curate", of["task"], "image", "text"],
        configs=[{"config_name": "default", "data_files": [{"split": "train", "path": "shard-*.parquet"}]}],
        **licence(of["licence"], of["homepage"]),
    )
    text: str = card.to_yaml()
    return text.strip()


def licence(said: str, homepage: str) -> dict[str, Any]:
    """A manifest's licence as fields of the Hub's YAML: a known identifier, or `other` with a name and a link.

    `said` is the manifest's text; `homepage` is the link.
    """
    found = SPDX.match(said)
    if found and said == found[0]:
        return {"license": found[0].lower()}
    return {"license": "other", "license_name": _slug(found[0] if found else said), "license_link": homepage}


def size_category(rows: int) -> str:
    """The Hub's size class (`1K<n<10K`) for a number of rows."""
    digits = len(str(rows))
    return SIZES[max(0, digits - 3)] if digits <= 10 else "other"


def _sections(manifest: Mapping[str, Any], found: Provenance | None) -> list[str]:
    of = manifest["manifest"]
    return [
        "## How to read it\n\n" + READING,
        "## Where it comes from\n\n" + _sources(manifest, found),
        *(["## Domains\n\n" + _domains(found)] if found is not None and found.host_rows else []),
        "## Opt-outs and removals\n\n" + _requests(manifest),
        "## What was kept and what was not\n\n" + _counts(manifest),
        "## Rules\n\n" + _rules(of["rules"], of["clean"]),
        "## Known limits\n\n" + _limits(manifest),
        "## How it was made\n\n" + _making(manifest),
    ]


READING = """```python
import datasets

samples = datasets.load_dataset("PATH_OF_THIS_FOLDER", split="train")  # images are decoded as you read them
```

The data are the files `shard-*.parquet`: give other readers that pattern (polars, DuckDB). pyarrow
takes the folder with `pyarrow.dataset.dataset(FOLDER, exclude_invalid_files=True)`, Spark with the option
`pathGlobFilter`, pandas the list of files.

Each row is one training sample: `prompt` + `target` is the training string, `image` the encoded image,
`regions` what lies where in it (corners clockwise from the text's or object's own top left, in pixels, origin
top left). `report.html` shows samples of it. Every dropped row and its reason is in `_dropped/`."""


def _sources(manifest: Mapping[str, Any], found: Provenance | None) -> str:
    of = manifest["manifest"]
    files = len(manifest["inputs"])
    lines = [
        f"- Data set: {_line(of['title'])} (`{of['name']}`), <{_line(of['homepage'])}>",
        f"- Licence: {_line(of['licence'])}",
        f"- Read: {manifest['inputs_in']:,} rows or documents of {files:,} file{'s' * (files != 1)}",
    ]
    days = ", ".join(first if first == last else f"{first} to {last}" for first, last in periods(manifest))
    lines.append(f"- Read and fetched: {days} (UTC)")
    if found is not None and found.datasets:
        lines += ["", "| source | rows | licence |", "|---|---:|---|"]
        lines += [
            f"| {_cell(name)} | {rows:,} | {_cell(of['licence'])} |" for name, rows in found.datasets.items()
        ]
    if found is not None and found.licences:
        lines += ["", "Rows name licences of their own:", "", "| licence | rows |", "|---|---:|"]
        lines += [f"| {_cell(name)} | {rows:,} |" for name, rows in found.licences.most_common(NAMED)]
    return "\n".join(lines) + (f"\n\n{_line(of['notes'])}" if of["notes"] else "")


def _domains(found: Provenance) -> str:
    """The largest domains and their shares."""
    whole, top = found.host_rows.total(), found.top()
    basis = (
        ""
        if found.files == found.of
        else f" Counted on {found.files:,} of {found.of:,} shards, spread evenly."
    )
    held = sum(found.host_rows[host] for host in top)
    lines = [
        f"The images of {plural(whole, 'row')} come from {plural(len(found.host_rows), 'domain')} (hosts, without "
        f"`www.`).{basis} "
        f"`{DOMAINS}` lists the top 10 % of them by the size of their images: {len(top):,}, with {held / whole:.1%} of "
        "the rows, as the EU's summary of training content asks for (AI Act, Art. 53(1)(d)).",
        "",
        "| domain | rows | share |",
        "|---|---:|---:|",
    ]
    return "\n".join(
        [
            *lines,
            *(
                f"| {host} | {rows:,} | {rows / whole:.1%} |"
                for host, rows in found.host_rows.most_common(NAMED)
            ),
        ]
    )


def _requests(manifest: Mapping[str, Any]) -> str:
    """How many rows were left out because owners opted out, or asked for removal."""
    of, dropped = manifest["manifest"]["fetch"], manifest["dropped"]
    names = ", ".join(f"`{name}`" for name in of["opt_out"])
    if of["respect_opt_out"]:
        lines = [
            f"- Opt-outs in `X-Robots-Tag` ({names}) were honoured: {plural(dropped.get('opted_out', 0), 'row')}."
        ]
    else:
        lines = [
            f"- Opt-outs in `X-Robots-Tag` ({names}) were not looked at (`fetch.respect_opt_out = false`)."
        ]
    lines.append(f"- Removed on request: {plural(dropped.get(REASON, 0), 'row')}.")
    if count := manifest.get("tombstones"):
        dates = sorted(str(one.get("date", "")) for one in manifest["removed"])
        lines.append(
            f"- {count:,} tombstones (hashes, the first of {dates[0][:10]}, the last of {dates[-1][:10]}) keep it out "
            "of later versions."
        )
    return "\n".join(lines)


def _cell(text: str) -> str:
    """A text as a cell of a Markdown table."""
    return _line(text).replace("|", "\\|")


def _counts(manifest: Mapping[str, Any]) -> str:
    rows = manifest["rows_in"]
    table = [("read", rows), *manifest["dropped"].items(), ("**kept**", manifest["rows_out"])]
    lines = ["| | rows | share |", "|---|---:|---:|"]
    lines += [f"| {name} | {count:,} | {count / max(1, rows):.2%} |" for name, count in table]
    if paper := manifest["manifest"]["paper"]:
        share = paper["rows_after"] / paper["rows_before"]
        lines += ["", f"For comparison, Qwen-VL (table 2) kept {share:.0%} of this data set."]
    return "\n".join(lines)


def _rules(rules: Mapping[str, Any], clean: Sequence[str]) -> str:
    lines = []
    if clean:
        lines += [f"Texts were cleaned first, by {' and '.join(f'`{name}`' for name in clean)}.", ""]
    for name, settings in rules.items():
        if settings is not False and settings.get("on", True):
            values = ", ".join(f"`{key} = {_line(str(value))}`" for key, value in settings.items())
            lines.append(f"- `{name}`" + (f": {values}" if values else ""))
    return "\n".join(lines) or "None."


def _limits(manifest: Mapping[str, Any]) -> str:
    of, request = manifest["manifest"], manifest["request"]
    lines = [
        "- Texts and images are as published: the rules look at form, not at truth, taste or rights.",
        "- Images belong to their owners; whoever trains on them or passes them on must clear that.",
    ]
    if of["task"] in ("ocr",):
        lines.append("- Text that a page shows only inside pictures has no region.")
    if manifest["scorer"] is None and "clip_score_too_low" in of["rules"]:
        lines.append("- CLIP scores, where there are any, are those that the source published.")
    if request["limit"] is not None or request["sample"] < 1:
        lines.append("- This is a part of its source: the run was given a limit or a sample of it.")
    failed = manifest["dropped"].get("unreadable", 0)
    if failed:
        lines.append(f"- {plural(failed, 'row')} of the source could not be read.")
    return "\n".join(lines)


def _making(manifest: Mapping[str, Any]) -> str:
    software = ", ".join(f"{name} {version}" for name, version in manifest["software"].items())
    return (
        f"Made on {manifest['finished'][:10]} by curate {manifest['curate_version']} ({software}). "
        f"`_manifest.json` holds every setting (their digest is `{manifest['manifest_digest']}`) and every "
        "shard's SHA-256."
    )


def _line(text: str) -> str:
    """A manifest's text on one line; `<` is escaped, so that Markdown reads no HTML tag in it."""
    return " ".join(text.split()).replace("<", "&lt;")


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-")[:60]
