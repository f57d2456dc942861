"""Croissant 1.1 metadata of a run: its files with their checksums, and what the columns mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curate.engine.tombstones import REASON
from curate.reporting.provenance import Provenance, periods
from curate.terminal import plural

CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "name": {"@container": "@language"},
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
FILES = {
    "@type": "cr:FileSet",
    "@id": "shards",
    "name": "shards",
    "description": "All shards: one row a training sample.",
    "encodingFormat": "application/x-parquet",
    "includes": "shard-*.parquet",
}
FIELDS = {
    "key": ("sc:Text", "32 hex digits, from data set and source id; stable between runs"),
    "dataset": ("sc:Text", "The data set's name"),
    "task": ("sc:Text", "What the model is trained to do"),
    "language": ("sc:Text", "en or zh"),
    "width": ("sc:Integer", "Pixels of the image"),
    "height": ("sc:Integer", "Pixels of the image"),
    "text": ("sc:Text", "The clean caption, question and answer, or page text in reading order"),
    "prompt": ("sc:Text", "What the model reads"),
    "target": ("sc:Text", "What the model is trained to say"),
    "clip_score": ("sc:Float", "Cosine of image and text"),
    "url": ("sc:Text", "Where the image came from"),
    "source": ("sc:Text", "Which file, and which row or page of it"),
    "sha256": ("sc:Text", "Of the image's bytes"),
    "extra": ("sc:Text", "JSON of the source's other columns"),
}


def describe(manifest: Mapping[str, Any], found: Provenance | None = None) -> dict[str, Any]:
    """The metadata of a complete run as JSON-LD.

    `manifest` is the whole of `_manifest.json`; `found` says where the rows come from (None: not counted).
    """
    of = manifest["manifest"]
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0"],
        "name": of["name"],
        "description": f"{plural(manifest['rows_out'], 'training sample')} made by curate from {of['title']}.",
        "license": of["licence"],
        "url": of["homepage"],
        "citeAs": f"{of['title']}, {of['homepage']}, curated by curate {manifest['curate_version']}",
        "datePublished": manifest["finished"][:10],
        "version": "1.0.0",
        "isBasedOn": of["homepage"],
        **_responsible(manifest, found),
        "distribution": [*map(_file, manifest["shards"]), FILES],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "samples",
                "name": "samples",
                "key": {"@id": "samples/key"},
                "field": [*(_field(name, *said) for name, said in FIELDS.items()), _image()],
            }
        ],
    }


def _responsible(manifest: Mapping[str, Any], found: Provenance | None) -> dict[str, Any]:
    """The fields of the vocabulary for responsible AI (RAI 1.0), as far as the run knows them."""
    of, dropped = manifest["manifest"], manifest["dropped"]
    where = ""
    if found is not None and found.host_rows:
        first, rows = found.host_rows.most_common(1)[0]
        share = rows / found.host_rows.total()
        hosts = plural(len(found.host_rows), "domain")
        where = f" Images come from {hosts}; the largest, {first}, has {share:.1%} of the rows."
    synthetic = of["adapter"] == "synthdog"
    kinds = ["Synthetic"] if synthetic else ["Secondary Data Analysis", *(["Web Scraping"] if where else [])]
    opted = f"{_rows_were(dropped.get('opted_out', 0))} left out because their owners' servers opt out"
    removed = f"{_rows_were(dropped.get(REASON, 0))} removed on request"
    return {
        "rai:dataCollection": f"Rows of {of['title']}; images from the addresses or files that they name.{where}",
        "rai:dataCollectionType": kinds,
        "rai:dataCollectionTimeframe": [day for period in periods(manifest) for day in period],
        "rai:dataCollectionMissingData": f"{manifest['rows_in'] - manifest['rows_out']:,} of "
        f"{plural(manifest['rows_in'], 'row')} are not in it; `_manifest.json` counts them by reason, "
        "`_dropped/` lists them.",
        "rai:dataPreprocessingProtocol": _protocol(manifest),
        "rai:dataLimitations": "Rules look at the form of texts and images, not at truth, taste or rights.",
        "rai:dataBiases": _biases(manifest),
        "rai:personalSensitiveInformation": "Not looked for: images and texts may show or name people."
        if not synthetic
        else "None: pages are drawn from a corpus of text.",
        "rai:dataUseCases": f"Training vision-language models: {of['task']}.",
        "rai:dataReleaseMaintenancePlan": f"{opted}; {removed}. `curate remove` makes a version without what is asked "
        "for, whose tombstones keep it out of later versions.",
    }


def _biases(manifest: Mapping[str, Any]) -> str:
    """A sentence on biases: it names the rules that dropped the most rows (at most three), with their counts."""
    rules = [name for name, of in manifest["manifest"]["rules"].items() if of is not False]
    kept = sorted(((manifest["dropped"].get(name, 0), name) for name in rules), reverse=True)[:3]
    said = ", ".join(f"{name} ({plural(count, 'row')})" for count, name in kept if count)
    return (
        f"Those of the source, and of what was dropped: most by {said}." if said else "Those of the source."
    )


def _rows_were(count: int) -> str:
    return f"{plural(count, 'row')} {'was' if count == 1 else 'were'}"


def _file(shard: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": shard["path"],
        "name": shard["path"],
        "contentUrl": shard["path"],
        "contentSize": f"{shard['bytes']} B",
        "encodingFormat": "application/x-parquet",
        "sha256": shard["sha256"],
    }


def _field(name: str, kind: str, description: str) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": f"samples/{name}",
        "name": name,
        "description": description,
        "dataType": kind,
        "source": {"fileSet": {"@id": "shards"}, "extract": {"column": name}},
    }


def _image() -> dict[str, Any]:
    field = _field("image", "sc:ImageObject", "The encoded image: JPEG, PNG or WebP, upright RGB")
    field["source"]["transform"] = {"jsonPath": "bytes"}
    return field


def _protocol(manifest: Mapping[str, Any]) -> list[str]:
    """One sentence for each thing that was done to the rows: the cleaning, and each reason for drops."""
    dropped = [f"{_rows_were(count)} dropped for {reason}." for reason, count in manifest["dropped"].items()]
    clean = manifest["manifest"]["clean"]
    return [*([f"Texts were cleaned by {', '.join(clean)}."] if clean else []), *dropped]
