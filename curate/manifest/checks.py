"""Checks the values of a manifest that have the right type but may make no sense, such as a negative size."""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from curate.errors import ManifestError
from curate.manifest.document_renderers import RENDERERS
from curate.manifest.settings import DEFAULT_KEY, Manifest, ScorerSettings
from filters.column import SLUG

LEAST_MEMORY = 64 * 2**20
MAX_PROMPTS = 64  # texts in `prompts`, and in `others`, of a flag
MAX_PROMPT = 1000  # characters
DRAWN = (*RENDERERS, "synthdog")  # adapters whose inputs are no rows: they make page images
COMPARISON = re.compile(r"\s*([<>]=?)\s*([-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?)\s*")  # such as `<0.5`

_CHECKS: tuple[tuple[str, Callable[[Manifest], bool]], ...] = (
    ("key must name at least one column", lambda m: bool(m.key)),
    (
        "key is of rows: a page's key comes from its document and its number",
        lambda m: m.adapter not in DRAWN or m.key == DEFAULT_KEY,
    ),
    (
        "render has settings of the adapters that make page images: pdf, html, synthdog",
        lambda m: not m.render or m.adapter in DRAWN or bool(m.plugins),  # one's own adapter may read it
    ),
    ("shard.rows must be at least 1", lambda m: m.shard.rows >= 1),
    ("shard.max_bytes must be at least 1", lambda m: m.shard.max_bytes >= 1),
    ("shard.row_group_bytes must be at least 1", lambda m: m.shard.row_group_bytes >= 1),
    ("shard.compression_level must be from 1 to 22", lambda m: 1 <= m.shard.compression_level <= 22),
    ("input.delimiter must be one character", lambda m: _is_delimiter(m.input.delimiter)),
    ("input.max_value_bytes must be at least 1", lambda m: m.input.max_value_bytes >= 1),
    ("input.max_depth must be from 1 to 500", lambda m: 1 <= m.input.max_depth <= 500),
    ("input.max_expansion must be at least 1", lambda m: m.input.max_expansion >= 1),
    ("input.max_unit_bytes must be at least 1", lambda m: m.input.max_unit_bytes >= 1),
    ("input.memory_bytes must be at least 1 GiB", lambda m: m.input.memory_bytes >= 2**30),
    ("drops.sample must be from 0 to 1", lambda m: 0 <= m.drops.sample <= 1),
    ("fetch.concurrency must be at least 1", lambda m: m.fetch.concurrency >= 1),
    ("fetch.per_host must be at least 1", lambda m: m.fetch.per_host >= 1),
    ("fetch.per_host_rate must be at least 0", lambda m: m.fetch.per_host_rate >= 0),  # and not NaN
    ("fetch.longest_rest_s must be at least 0", lambda m: m.fetch.longest_rest_s >= 0),
    ("fetch.retries must be at least 0", lambda m: m.fetch.retries >= 0),
    ("fetch.max_redirects must be at least 0", lambda m: m.fetch.max_redirects >= 0),
    ("fetch.max_bytes must be at least 1", lambda m: m.fetch.max_bytes >= 1),
    ("fetch.connect_timeout_s must be above 0", lambda m: m.fetch.connect_timeout_s > 0),
    ("fetch.read_timeout_s must be above 0", lambda m: m.fetch.read_timeout_s > 0),
    ("fetch.total_timeout_s must be above 0", lambda m: m.fetch.total_timeout_s > 0),
    ("fetch.retry_wait_s must be at least 0", lambda m: m.fetch.retry_wait_s >= 0),
    ("fetch.outage_patience_s must be at least 0", lambda m: m.fetch.outage_patience_s >= 0),
    ("fetch.user_agent must be printable ASCII", lambda m: _is_header_value(m.fetch.user_agent)),
    ("fetch.name_servers must be IP addresses", lambda m: all(map(_is_server, m.fetch.name_servers))),
    (
        "scorer.batch_size must be at least 1",
        lambda m: m.scorer is None or m.scorer.batch_size == "auto" or m.scorer.batch_size >= 1,
    ),
    (
        "image.formats must be one or more of jpeg, png, webp, gif, bmp, avif",
        lambda m: m.image.formats != () and {*m.image.formats} <= {*type(m.image)().formats},
    ),
    ("image.quality must be from 1 to 100", lambda m: 1 <= m.image.quality <= 100),
    ("image.max_pixels must be at least 1", lambda m: m.image.max_pixels >= 1),
    ("image.max_side must be at least 1", lambda m: m.image.max_side is None or m.image.max_side >= 1),
    ("image.min_side must be at least 1", lambda m: m.image.min_side is None or m.image.min_side >= 1),
    ("image.timeout_s must be above 0", lambda m: m.image.timeout_s > 0),
    ("image.memory_bytes must be at least 64 MiB", lambda m: m.image.memory_bytes >= LEAST_MEMORY),
    ("documents.max_bytes must be at least 1", lambda m: m.documents.max_bytes >= 1),
    ("documents.page_timeout_s must be above 0", lambda m: m.documents.page_timeout_s > 0),
    ("documents.timeout_s must be above 0", lambda m: m.documents.timeout_s > 0),
    ("documents.memory_bytes must be at least 64 MiB", lambda m: m.documents.memory_bytes >= LEAST_MEMORY),
)


def _is_header_value(text: str) -> bool:
    return bool(re.fullmatch(r"[!-~]([ -~]*[!-~])?", text))


def _is_delimiter(text: str) -> bool:
    return not text or (len(text) == 1 and text not in '"\r\n')


def _is_server(text: str) -> bool:
    """Whether this is an IP address, with or without a port: `1.2.3.4:53`, `[2001:db8::1]:53`."""
    found = re.fullmatch(r"(?:\[(.+)\]|([^:]+|[^.]+))(?::\d{1,5})?", text)
    try:
        return bool(found and ipaddress.ip_address(found[1] or found[2]))
    except ValueError:
        return False


def check_values(manifest: Manifest, origin: str) -> None:
    """Check that each value is in its range.

    Raises:
        ManifestError: one is not; `origin` names the manifest in the message.
    """
    for message, holds in _CHECKS:
        if not holds(manifest):
            raise ManifestError(f"{origin}: {message}")
    _check_only(manifest.only, origin)


def _check_only(only: Mapping[str, Sequence[str]], origin: str) -> None:
    """Check that `only` holds whole values, and no comparisons such as `<0.5`.

    Raises:
        ManifestError: it holds one; the message shows a rule that does it.
    """
    for column, wanted in only.items():
        for value in wanted:
            if found := COMPARISON.fullmatch(value):
                setting = "max" if found[1].startswith("<") else "min"
                raise ManifestError(
                    f"{origin}: only.{column} lists whole values, and {value[:40]!r} is a comparison: write a rule, "
                    f"--set rules.my_rule.column={column} --set rules.my_rule.{setting}={found[2][:20]}"
                )


def check_near(
    rule: dict[str, Any] | Literal[False] | None, scorer: ScorerSettings | None, origin: str
) -> None:
    """Check the rule `near_duplicate`, which compares features of the run's own scorer.

    Args:
        rule: the rule's settings; None or False: the rule is off, and nothing is checked.
        scorer: the manifest's scorer, if it has one.
        origin: names the manifest in an error.

    Raises:
        ManifestError: there is no scorer, it does not keep its features, or the threshold is no cosine.
    """
    if not rule:
        return
    if scorer is None or not scorer.features:
        raise ManifestError(
            f"{origin}: rule 'near_duplicate' compares CLIP features: give it a [scorer] (scorer.model=…) "
            "with features = true"
        )
    if not 0 < rule["max_similarity"] <= 1:
        raise ManifestError(
            f"{origin}: rule 'near_duplicate', setting 'max_similarity': a cosine, above 0 and at most 1, "
            f"not {rule['max_similarity']}"
        )


def check_models(manifest: Manifest, origin: str) -> None:
    """Check flags and heads: flags need a scorer with features, a dialogue's task has neither, and their names, texts
    and numbers must be valid.

    Raises:
        ManifestError: one of them is not; `origin` names the manifest in the message.
    """
    scorer = manifest.scorer
    if manifest.flags and (scorer is None or not scorer.features):
        raise ManifestError(
            f"{origin}: [flags] are told by CLIP features: give it a [scorer] (scorer.model=…) with features = true"
        )
    if manifest.task == "conversation" and (manifest.flags or manifest.heads):
        raise ManifestError(
            f"{origin}: a run judges a row's own image by [flags] and [heads], which dialogues do not have: "
            "`curate score DIR --flags FILE` judges each of theirs"
        )
    for name in (*manifest.flags, *manifest.heads):
        if not SLUG.fullmatch(name):
            raise ManifestError(
                f"{origin}: flag or head {name[:80]!r} must be like 'watermark' (a-z, 0-9, _)"
            )
    for name, flag in manifest.flags.items():
        for setting, texts in (("prompts", flag.prompts), ("others", flag.others)):
            if not 1 <= len(texts) <= MAX_PROMPTS or not all(
                1 <= len(t.strip()) <= MAX_PROMPT for t in texts
            ):
                raise ManifestError(
                    f"{origin}: flag {name!r}, setting {setting!r}: 1 to {MAX_PROMPTS} texts of 1 to {MAX_PROMPT} "
                    "characters each"
                )
    for name, head in manifest.heads.items():
        numbers = (*head.mean, *head.std)
        if not all(map(math.isfinite, numbers)) or min(head.std) <= 0 or not 0.1 <= head.crop <= 1:
            raise ManifestError(
                f"{origin}: head {name!r}: mean must be finite, std above 0, crop from 0.1 to 1 (a share)"
            )
