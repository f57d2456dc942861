"""SynthDoG's template: make an image and the quads of its lines from a seed and a number.

Everything about an image is planned first, including the geometry, and painted afterwards. Text that would not lie
completely in the picture is not painted, so the label holds exactly the text that is in the picture.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import cv2
import pyarrow as pa

from synthdog import labels, painting
from synthdog.errors import ItemError, SettingsError
from synthdog.page_plan import Planner
from synthdog.resources import Resources
from synthdog.row_schema import ROWS, Row
from synthdog.settings import TemplateSettings, load

TEMPLATE = "synthdog-2"  # changes whenever the same seed gives other bytes


class Template:
    """Makes images of one language. It takes long to construct, so keep it.

    `settings` replace the language's defaults (`en` or `zh`); `resources` are loaded if they are not given.

    Raises:
        SettingsError: a setting is unknown or out of range.
        ResourceError: fonts, corpus or pictures cannot be used.
    """

    def __init__(
        self,
        settings: Mapping[str, Any] | TemplateSettings | None = None,
        *,
        language: str = "en",
        resources: Resources | None = None,
    ):
        self.settings = load(settings, language)
        self.language = language
        self.resources = resources or Resources.load(self.settings, language)
        self.planner = Planner(self.settings, self.resources, language)

    def generate(self, seed: int, indices: Iterable[int]) -> pa.RecordBatch:
        """The images `indices` of `seed`, one row each (schema ROWS); an image that cannot be made is a dropped row.

        Raises:
            SettingsError: `seed` or an index is negative.
        """
        with _one_thread():
            rows = [vars(self.row(seed, index)) for index in indices]
        return pa.RecordBatch.from_pydict(
            {name: [row[name] for row in rows] for name in ROWS.names}, schema=ROWS
        )

    def row(self, seed: int, index: int) -> Row:
        """Image `index` of `seed`, which does not depend on images made before.

        Raises:
            SettingsError: `seed` or `index` is negative.
        """
        if seed < 0 or index < 0:
            raise SettingsError(f"seed {seed} and index {index} must not be negative")
        about = {"seed": seed, "index": index, "template": TEMPLATE}
        try:
            plan = self.planner.plan(seed, index)
        except ItemError as problem:
            return Row(self.language, json.dumps(about), dropped=problem.reason, detail=problem.detail)
        inks = painting.strips(plan)
        image = painting.paint(plan, zip(plan.lines, inks, strict=True))
        _, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, plan.quality])
        extra = about | plan.record() | labels.parts(plan, inks, self.settings.labels)
        return Row(
            language=self.language,
            extra=json.dumps(extra, ensure_ascii=False),
            image=encoded.tobytes(),
            format="jpeg",
            width=plan.size[0],
            height=plan.size[1],
            text=labels.text(plan),
            regions=labels.regions(plan, labels.lines(plan, inks)),
        )


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let OpenCV use one thread within the block, because a run uses all cores by its worker processes."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)
