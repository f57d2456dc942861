from __future__ import annotations

import subprocess
import sys

import pytest

from tests.curate.runs import ROOT

TRIED = """
import sys
from curate.children.no_pandas import hide_pandas
hide_pandas()
import pyarrow as pa
pa.array([1, None])
assert "pandas" not in sys.modules
assert pa.table({"a": [1]}).to_pandas().a.tolist() == [1]
assert "pandas" in sys.modules
"""


def test_an_array_of_a_list_imports_no_pandas_and_a_table_still_becomes_a_frame() -> None:
    pytest.importorskip("pandas")
    tried = subprocess.run(
        [sys.executable, "-c", TRIED], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert tried.returncode == 0, tried.stderr
