"""Group failed rows by reason: how many there are, with which messages and on which hosts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from curate.reporting.funnel import Step, shares
from curate.reporting.marks import plain
from curate.reporting.sampling import hosts

NAMED = 3  # at most so many hosts and so many messages are named for a reason
LEAST = 0.05  # a host or message with a smaller share of the reason's rows is not named
TRANSIENT = (408, 425, 429, 500, 502, 503, 504)
MAY_PASS = frozenset(  # failures that may be gone at a second try, unlike a 404, an opt-out or a broken file
    {"timed_out", "dns_failed", "connection_failed", "tls_failed", "bad_response", "crashed", "out_of_memory"}
    | {f"http_{status}" for status in TRANSIENT}
)


@dataclass(frozen=True)
class FailureGroup:
    """One reason at one stage, with the messages and hosts that it came with most often."""

    reason: str
    stage: str
    rows: int
    said: list[str]


def failures(steps: Sequence[Step], dropped: pa.Table) -> list[FailureGroup]:
    """The failures among the steps, most frequent first. `dropped`: dropped rows (DROPPED), all or a sample."""
    reason = dropped["reason"].cast(pa.string())
    found = []
    for step in sorted((step for step in steps if not step.is_rule), key=lambda step: -step.dropped):
        rows = dropped.filter(pc.equal(reason, step.reason))
        columns = (rows["detail"], hosts(rows["url"])) if step.stage == "fetch" else (rows["detail"],)
        said = [
            f"{plain(value, 80)} ({100 * share:.0f} %)"
            for values in columns
            for value, _, share in shares(values, NAMED)
            if share >= LEAST and value
        ]
        found.append(FailureGroup(step.reason, step.stage, step.dropped, said))
    return found


def worth_retrying(dropped: Mapping[str, int]) -> list[str]:
    """The reasons, among those of `dropped` (rows by reason), for which a second try may succeed."""
    return [reason for reason in dropped if reason in MAY_PASS]
