"""Show results: as JSON on standard output for programs, as lines and tables for people."""

from __future__ import annotations

import json
import logging
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from curate.errors import CurateError
from curate.terminal import plural

TOO_LONG = "sample_too_long"
MANY_TOO_LONG = 0.01  # share of samples that are too long from which a longer --seq-len is suggested

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from curate.results import PreviewResult, RunResult

_kept_outputs: list[TextIO | None] = []  # standard output, while `sys.stdout` is standard error


@contextmanager
def results_alone() -> Iterator[None]:
    """Keep standard output for `write_result`; what plug-ins and libraries print goes to standard error meanwhile."""
    kept = sys.stdout
    _kept_outputs.append(kept)
    sys.stdout = sys.stderr
    try:
        yield
    finally:
        sys.stdout = kept
        _kept_outputs.pop()


def write_result(text: str) -> None:
    """Write text and a line's end to standard output; nothing if that is closed."""
    output = _kept_outputs[-1] if _kept_outputs else sys.stdout
    if output is not None:
        print(text, file=output)


def tell(log: str, metrics: str) -> None:
    """Report progress to programs as well: by lines of JSON, or by a file of metrics.

    Args:
        log: `text`, or `json`: each line on standard error is a JSON object.
        metrics: the path of the file; empty: none.

    Raises:
        ManifestError: `log` is neither text nor json.
    """
    from curate.errors import ManifestError
    from curate.terminal import LOG, METRICS, JsonLines, logs_json

    if log not in ("text", "json"):
        raise ManifestError(f"--log must be text or json, not {log!r}")
    if log == "json":
        os.environ[LOG] = log
    if metrics:
        os.environ[METRICS] = metrics
    if logs_json():
        for handler in logging.getLogger("curate").handlers or logging.getLogger().handlers:
            handler.setFormatter(JsonLines())


def show_made(found: RunResult | PreviewResult, as_json: bool) -> None:
    """Show a finished run, or, after a dry run, what it would do."""
    from curate.results import RunResult

    if isinstance(found, RunResult):
        finish(found, as_json)
        return
    from curate.engine.preview import lines

    show_found(found.raw, lines, as_json)


def finish(result: RunResult, as_json: bool) -> None:
    """Show a finished run.

    Raises:
        CurateError: some of its rows could not be read.
    """
    show_run(result, as_json)
    unreadable = result.dropped.get("unreadable", 0)
    if unreadable:
        raise CurateError(
            f"{plural(unreadable, 'row')} could not be read, counted as dropped: mend the input and run again "
            "with --overwrite"
        )


def show_run(result: RunResult, as_json: bool) -> None:
    """Show a finished run: its manifest as JSON, or the funnel of drops for a person."""
    from rich.console import Console

    from curate.engine.making import took_s
    from curate.engine.progress import funnel
    from curate.terminal import bytes_said, duration_said, json_line, logs_json

    if as_json:
        write_result(json.dumps(result.raw))
        return
    if logs_json():
        counts = {"rows_in": result.rows_in, "rows_out": result.rows_out, "dropped": result.dropped}
        line = json_line("info", "finished", event="finished", folder=result.folder, **counts)
        print(line, file=sys.stderr)
        return
    console = Console(stderr=True, markup=False, emoji=False, soft_wrap=True)
    console.print(funnel(result.raw))
    size = bytes_said(sum(shard["bytes"] for shard in result.shards))
    took = "" if "scored" in result.raw else f", took {duration_said(took_s(result.raw))}"
    noun = "part" if result.raw.get("kind") else "shard"
    console.print(f"{plural(len(result.shards), noun)} in {result.folder}, {size}{took}", highlight=False)


def show_found(
    found: dict[str, Any], lines: Callable[[dict[str, Any]], Iterable[str]], as_json: bool
) -> None:
    """Print a result on standard output: as JSON, or as the lines that `lines` makes of it."""
    write_result(json.dumps(found) if as_json else "\n".join(lines(found)))


def pack_lines(packed: dict[str, Any], out: str) -> Iterator[str]:
    """Yield lines that tell a person about packs in `out`."""
    for task, of in packed["tasks"].items():
        samples, sequences = plural(of["samples"], "sample"), plural(of["sequences"], "sequence")
        yield f"{task}: {samples} in {sequences}, {of['padding']:.1%} padding"
    yield from _dropped_lines(packed["dropped"])
    if packed["rows_out"] and packed["dropped"].get(TOO_LONG, 0) >= MANY_TOO_LONG * packed["rows_in"]:
        yield from _longer_lines(packed)
    kept = f"{packed['rows_out']:,} of {plural(packed['rows_in'], 'sample')}"
    yield f"{kept} in {plural(len(packed['shards']), 'pack')} in {out}"


def _longer_lines(packed: dict[str, Any]) -> Iterator[str]:
    """Yield a line that says which sequence length the samples that were too long would fit into, if that is known."""
    if not (told := packed.get("too_long")):
        return
    count, longest = packed["dropped"][TOO_LONG], told["longest"]
    taken, hint = 0, ""
    for size, more in told["by_seq_len"].items():
        taken += more
        if 2 * taken >= count and int(size) < longest:
            hint = f"--seq-len {size} takes {taken:,} of them, {longest} all"
            break
    hint = hint or f"--seq-len {longest} takes them all"
    settings = packed["settings"]
    cut = "" if settings["truncate"] else "; --truncate cuts them"
    longer = f"{count:,} of {plural(packed['rows_in'], 'sample')} longer than {settings['seq_len']:,} tokens"
    yield f"{longer}: {hint}{cut}"


def finish_pack(packed: dict[str, Any]) -> None:
    """Check that something was packed.

    Raises:
        CurateError: nothing was packed.
    """
    _refuse_nothing(packed, "packed", "sample", "".join(f"; {line}" for line in _longer_lines(packed)))


def finish_export(exported: dict[str, Any]) -> None:
    """Check that something was exported.

    Raises:
        CurateError: nothing was exported.
    """
    _refuse_nothing(exported, "exported", "row")


def _refuse_nothing(made: dict[str, Any], done: str, noun: str, hint: str = "") -> None:
    if made["rows_out"]:
        return
    why = ", ".join(f"{reason} {count:,}" for reason, count in made["dropped"].items()) or "there are none"
    raise CurateError(f"nothing was {done} of {plural(made['rows_in'], noun)} ({why}){hint}")


def export_lines(exported: dict[str, Any], to: str, out: str) -> Iterator[str]:
    """Yield lines that tell a person about an export in the format `to` in `out`."""
    yield from _dropped_lines(exported["dropped"])
    yield f"{exported['rows_out']:,} of {plural(exported['rows_in'], 'row')} as {to} in {out}"


def _dropped_lines(dropped: dict[str, int]) -> Iterator[str]:
    return (f"dropped: {reason} {count:,}" for reason, count in dropped.items())
