"""The lists of held-out images that docs/evaluation-sets.md makes of what data sets publish."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

import curate
from tests.curate.runs import ROOT

SAMPLE = ROOT / "manifests" / "samples" / "refcoco"


def test_the_lists_are_made_as_the_page_says_and_a_run_honours_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (ROOT / "docs" / "evaluation-sets.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    shutil.copy(SAMPLE / "refs(unc).p", tmp_path)
    splits = {"a": "train", "b": "restval", "c": "val", "d": "test"}
    karpathy = [{"cocoid": n, "split": split} for n, split in enumerate(splits.values(), 901)]
    (tmp_path / "dataset_coco.json").write_text(json.dumps({"images": karpathy}))
    shared = [
        {"image_id": 1, "coco_id": 903},
        {"image_id": 2, "coco_id": 901},
        {"image_id": 3, "coco_id": None},
    ]
    (tmp_path / "image_data.json").write_text(json.dumps(shared))
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "page", "exec"), {})
    lists = {name: (tmp_path / f"{name}.txt").read_text().split() for name in ("refcoco", "karpathy", "vg")}
    assert lists["karpathy"] == ["coco:903", "coco:904"]
    assert lists["vg"] == ["1"]
    assert lists["refcoco"]
    everything = {"only.split": ["train", "val", "testA", "testB"]}
    sample = {"workers": 0, "progress": False}
    whole = curate.run("refcoco", tmp_path / "whole", settings=everything, **sample)  # type: ignore[arg-type]
    less = curate.run(
        "refcoco",
        tmp_path / "less",
        settings=everything | {"rules.image_name_on_list.against": str(tmp_path / "refcoco.txt")},
        **sample,  # type: ignore[arg-type]
    )
    assert isinstance(whole, curate.RunResult)
    assert isinstance(less, curate.RunResult)
    assert less.dropped["image_name_on_list"] > 0
    assert less.rows_out < whole.rows_out
