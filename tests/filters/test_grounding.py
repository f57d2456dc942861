from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.grounding import clip_boxes, ground, most_boxes, no_boxes_left

GRIT = Path(__file__).parents[3] / "shared" / "data" / "grit" / "grit_rows.jsonl"

Span = tuple[int, int]


def disjoint(spans: tuple[Span, ...]) -> bool:
    ordered = sorted(spans)
    return all(before[1] <= after[0] for before, after in itertools.pairwise(ordered))


def kept_of(labels: list[tuple[int, int, float]]) -> np.ndarray[Any, Any]:
    start, end, score = (np.array(values) for values in zip(*labels, strict=True))
    return most_boxes(np.zeros(len(labels), np.int64), start, end, score)


def test_every_caption_of_five_words_keeps_as_many_boxes_as_exhaustive_search_finds() -> None:
    spans = list(itertools.combinations(range(6), 2))  # 15 phrases: 32,767 captions of one phrase or more
    free = [
        s for n in range(6) for s in itertools.combinations(range(15), n) if disjoint([spans[i] for i in s])
    ]
    captions = (np.arange(1, 2**15)[:, None] >> np.arange(15)) & 1 == 1
    best = np.max([captions[:, list(chosen)].all(axis=1) * len(chosen) for chosen in free], axis=0)
    row, which = np.nonzero(captions)
    start, end = np.array(spans)[which].T
    kept = most_boxes(row, start, end, np.zeros(len(row)))
    assert (np.bincount(row[kept], minlength=len(captions)) == best).all()
    for position in range(5):
        covered = (start[kept] <= position) & (position < end[kept])
        assert np.bincount(row[kept][covered]).max() == 1


labels = st.lists(
    st.tuples(st.integers(0, 20), st.integers(1, 9), st.sampled_from([0.25, 0.5, 0.75, 1.0])),
    min_size=1,
    max_size=14,
).map(lambda found: [(start, start + length, score) for start, length, score in found])


@settings(max_examples=150, deadline=None)
@given(labels)
def test_no_choice_beats_the_kept_one_in_boxes_then_scores_then_length(
    found: list[tuple[int, int, float]],
) -> None:
    boxes: dict[Span, list[float]] = {}
    for start, end, score in found:
        boxes.setdefault((start, end), []).append(score)

    def worth(spans: tuple[Span, ...]) -> tuple[int, float, int]:
        return (
            sum(len(boxes[s]) for s in spans),
            sum(sum(boxes[s]) for s in spans),
            sum(end - start for start, end in spans),
        )

    choices = (c for n in range(len(boxes) + 1) for c in itertools.combinations(boxes, n) if disjoint(c))
    kept = kept_of(found)
    spans = {(start, end) for (start, end, _), keep in zip(found, kept, strict=True) if keep}
    assert disjoint(tuple(spans))
    assert all(((start, end) in spans) == keep for (start, end, _), keep in zip(found, kept, strict=True))
    assert worth(tuple(spans)) == max(map(worth, choices))


def test_rows_do_not_disturb_one_another() -> None:
    rng = np.random.default_rng(7)
    row = np.repeat(np.arange(300), rng.integers(0, 12, 300))
    start = rng.integers(0, 30, len(row))
    end = start + rng.integers(1, 10, len(row))
    score = rng.random(len(row))
    together = most_boxes(row, start, end, score)
    for number in np.unique(row):
        mine = row == number
        assert (most_boxes(row[mine], start[mine], end[mine], score[mine]) == together[mine]).all()


def test_no_labels_keep_none() -> None:
    nothing = np.zeros(0, np.int64)
    assert len(most_boxes(nothing, nothing, nothing, np.zeros(0))) == 0


def test_a_thousand_nested_phrases_are_settled() -> None:
    found = [(0, n, 0.5) for n in range(2, 1000)] + [(0, 1, 0.5), (1, 2, 0.5)]
    assert np.flatnonzero(kept_of(found)).tolist() == [998, 999]


def grounded(
    caption: str | None, chunks: Any, refs: Any = None, width: int | None = 100, height: int | None = 50
) -> Any:
    kind = pa.list_(pa.list_(pa.float64()))
    columns = [
        pa.array([caption]),
        pa.array([width]),
        pa.array([height]),
        pa.array([chunks], kind),
        pa.array([refs], kind),
    ]
    return ground(*columns).to_pylist()[0]


def test_the_papers_example_keeps_the_dog_and_the_field_and_not_the_dog_in_the_field() -> None:
    caption = "a dog in a field of flowers"
    chunks = [[0, 5, 0.1, 0.1, 0.5, 0.5, 0.9], [9, 16, 0, 0, 1, 1, 0.8], [20, 27, 0, 0.5, 1, 1, 0.7]]
    refs = [[0, 27, 0.1, 0.1, 0.5, 0.5, 0.9], [9, 27, 0, 0, 1, 1, 0.8]]
    assert [r["text"] for r in grounded(caption, chunks, refs)] == ["a dog", "a field", "flowers"]


def test_boxes_of_one_phrase_stay_together() -> None:
    caption = "two bees on a flower"
    chunks = [[0, 8, 0.1, 0.1, 0.2, 0.2, 0.5], [0, 8, 0.5, 0.5, 0.7, 0.7, 0.5], [12, 20, 0, 0, 1, 1, 0.9]]
    refs = [[0, 20, 0, 0, 1, 1, 1.0], [0, 8, 0.1, 0.1, 0.2, 0.2, 0.5]]
    assert [r["text"] for r in grounded(caption, chunks, refs)] == ["two bees", "two bees", "a flower"]


def test_offsets_are_code_points() -> None:
    regions = grounded("😀😀 猫 and déjà vu", [[3, 4, 0, 0, 1, 1, 1], [9, 16, 0, 0, 1, 1, 1]])
    assert [r["text"] for r in regions] == ["猫", "déjà vu"]


def test_boxes_are_clipped_to_the_image_in_pixels() -> None:
    (region,) = grounded("a dog", [[0, 5, -0.5, 0.2, 0.5, 7.0, 0.5]])
    assert region["quad"] == [0, 10, 50, 10, 50, 50, 0, 50]


@pytest.mark.parametrize(
    "label",
    [
        [0, 5, 0.5, 0.1, 0.2, 0.5, 1],  # inverted
        [0, 5, 0.5, 0.1, 0.5, 0.5, 1],  # no width
        [0, 5, 1.5, 0.1, 1.7, 0.5, 1],  # outside the image
        [0, 5, float("nan"), 0.1, 0.5, 0.5, 1],
        [0, 5, 0.1, 0.1, float("inf"), 0.5, 1],
        [0, 5, None, 0.1, 0.5, 0.5, 1],
        [0, 6, 0, 0, 1, 1, 1],  # beyond the caption
        [-1, 3, 0, 0, 1, 1, 1],
        [3, 3, 0, 0, 1, 1, 1],
        [4, 2, 0, 0, 1, 1, 1],
        [0.5, 2, 0, 0, 1, 1, 1],
        [1e300, 1e301, 0, 0, 1, 1, 1],
        [0, 5, 0, 0, 1, 1],  # a number short
        [],
        None,
    ],
)
def test_a_broken_label_costs_itself_alone(label: Any) -> None:
    assert [r["text"] for r in grounded("a dog", [label, [2, 5, 0, 0, 1, 1, 1]])] == ["dog"]


@pytest.mark.parametrize(("width", "height"), [(0, 50), (None, 50), (100, -1)])
def test_an_image_without_a_size_has_no_boxes(width: int | None, height: int | None) -> None:
    assert grounded("a dog", [[0, 5, 0, 0, 1, 1, 1]], None, width, height) == []


def test_rows_without_captions_or_labels_have_no_boxes() -> None:
    assert grounded(None, [[0, 5, 0, 0, 1, 1, 1]]) == []
    assert grounded("a dog", None, None) == []
    assert grounded("a dog", [], []) == []


def test_rows_without_boxes_are_dropped_and_null_ones_too() -> None:
    kind = ground(
        *(pa.array([], t) for t in (pa.string(), pa.int32(), pa.int32())),
        *[pa.array([], pa.list_(pa.list_(pa.float64())))] * 2,
    ).type
    regions = pa.array([[{"text": "a"}], [], None], kind)
    assert no_boxes_left(regions).to_pylist() == [True, False, None]


def test_sliced_and_chunked_columns_are_read_like_whole_ones() -> None:
    kind = pa.list_(pa.list_(pa.float64()))
    captions = pa.array(["猫 x", None, "a dog", "it"])
    chunks = pa.array([[[0, 1, 0, 0, 1, 1, 1]], None, [[2, 5, 0, 0, 1, 1, 1]], []], kind)
    sizes = pa.array([10, 20, 30, 40])
    whole = ground(captions, sizes, sizes, chunks, chunks)
    sliced = ground(*(a.slice(1) for a in (captions, sizes, sizes, chunks, chunks)))
    assert sliced.to_pylist() == whole.to_pylist()[1:]
    halves = [pa.chunked_array([a.slice(0, 2), a.slice(2)]) for a in (captions, sizes, sizes, chunks, chunks)]
    assert ground(*halves).to_pylist() == whole.to_pylist()


def test_clipping_says_which_boxes_are_sound() -> None:
    box = np.array([[-5.0, 0, 5, 5], [5, 5, 4, 9], [0, 0, np.nan, 1], [20, 0, 30, 5]])
    clipped, sound = clip_boxes(box, np.tile([10.0, 8.0, 10.0, 8.0], (4, 1)))
    assert sound.tolist() == [True, False, False, False]
    assert clipped[0].tolist() == [0, 0, 5, 5]


@pytest.mark.skipif(not GRIT.exists(), reason="needs ../shared/data")
def test_grits_published_row_keeps_two_phrases_as_they_stand_in_the_caption() -> None:
    for line in GRIT.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        regions = grounded(row["caption"], row["noun_chunks"], row["ref_exps"], row["width"], row["height"])
        assert [r["text"] for r in regions] == [
            "a wire hanger",
            "a paper cover that reads we heart our customers",
        ]
        assert all(row["caption"][r["start"] : r["end"]] == r["text"] for r in regions)
