"""The findings of `curate calibrate` as one HTML page: what each rule drops, and the shares that thresholds keep."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from curate.errors import ManifestError, OutputError
from curate.reporting.measures import Threshold
from curate.reporting.page import HERE, environment, policy
from curate.reporting.plots import KeepCurve, compact, keep_curve
from curate.storage.filesystems import scheme
from curate.storage.whole_files import whole_file


def page_place(place: str) -> Path:
    """The path of the page's file; `place` is what the user gave: a path on this machine.

    Raises:
        ManifestError: `place` is empty, an existing folder, or a URL of another store.
    """
    if scheme(place) != "file" or not place.strip() or Path(place).is_dir():
        raise ManifestError(f"the page goes into a file of this machine, not to {place!r}")
    return Path(place)


def write_page(found: Mapping[str, Any], place: Path) -> None:
    """Write the result of a calibration (the mapping that `--json` prints) as an HTML page into the file `place`.

    Raises:
        OutputError: the file cannot be written.
    """
    try:
        with whole_file(place) as file:
            Path(file.name).chmod(0o644)
            file.write(calibration_html(found).encode())
    except OSError as error:
        raise OutputError(f"cannot write {place}: {error.strerror or error}") from None


def calibration_html(found: Mapping[str, Any]) -> str:
    """The result of a calibration as HTML, without scripts and without anything to load."""
    curves = list(_curves(found))
    return (
        environment()
        .get_template("calibration.html.jinja")
        .render(
            found=found,
            plots=[(curve, Markup(keep_curve(curve))) for curve in curves],
            css=Markup((HERE / "page.css").read_text(encoding="utf-8")),
            policy=policy(),
        )
    )


def _curves(found: Mapping[str, Any]) -> Iterator[KeepCurve]:
    solved = {(one["rule"], one["setting"]): one["threshold"] for one in found.get("solved", ())}
    for row in found["table"]:
        for curve in row.get("thresholds", ()):
            if steps := curve["steps"]:
                setting = curve["setting"]
                now, new = row["settings"].get(setting), solved.get((row["rule"], setting))
                limits = [("now", now), ("found", new)] if new != now else [("now", now)]
                yield KeepCurve(
                    title=f"{row['rule']}.{setting}",
                    unit=f"{compact(curve['least'])} to {compact(curve['largest'])}",
                    thresholds=[float(one["threshold"]) for one in steps],
                    keep=[one["keep"] for one in steps],
                    alone=[one["alone"] for one in steps],
                    limits=[Threshold(row["rule"], float(at), side) for side, at in limits if at is not None],
                    whole=isinstance(curve["least"], int),
                )
