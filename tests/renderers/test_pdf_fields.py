"""Values of a form's fields, which are painted after all else: each is read behind its label."""

from __future__ import annotations

from typing import Any

import pytest

pymupdf = pytest.importorskip("pymupdf")

from renderers.pdf.render import PdfSettings, render  # noqa: E402 (PyMuPDF is an extra)

LABELS = ("NAME", "STREET", "TOWN", "COUNTRY")
VALUES = ("Ada", "Long Lane", "York", "England")


def form(label_right: bool = False, above: bool = False, order: tuple[int, ...] = (0, 1, 2, 3)) -> bytes:
    """Labels in an order of content, each left of its field or right above it."""
    pdf = pymupdf.open()
    page = pdf.new_page(width=400, height=300)
    for row in order:
        page.insert_text((80 if label_right else 40, 50 + 60 * row), LABELS[row], fontsize=12)
    for row, value in enumerate(VALUES):
        widget = pymupdf.Widget()
        widget.field_type, widget.field_name = pymupdf.PDF_WIDGET_TYPE_TEXT, f"field {row}"
        left, top = (40, 54 + 60 * row) if above else (150, 32 + 60 * row)
        widget.rect, widget.field_value = pymupdf.Rect(left, top, left + 200, top + 30), value
        widget.text_fontsize = 12
        page.add_widget(widget)
    return bytes(pdf.tobytes())


def read(document: bytes) -> list[str]:
    (page,) = (row for batch in render(document, PdfSettings()) for row in batch.to_pylist())
    regions: list[dict[str, Any]] = page["regions"]
    return [word for region in regions for word in region["text"].split("  ")]


@pytest.mark.parametrize("above", [False, True])
@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 1, 3, 2), (3, 2, 1, 0)])
def test_a_fields_value_stands_behind_its_label(above: bool, order: tuple[int, ...]) -> None:
    found = read(form(above=above, order=order))
    assert [found[found.index(label) + 1] for label in LABELS] == list(VALUES)


def test_values_without_a_label_come_last() -> None:
    found = read(form(label_right=True, order=(0,)))
    assert found[:2] == ["NAME", "Ada"]
    assert set(found[2:]) == set(VALUES[1:])
