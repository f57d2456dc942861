"""Files of the rules across a run that something damaged."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from curate.engine.across import SPILL, PhaseFiles
from curate.errors import DamagedStateError
from curate.storage.batch_files import read_batch, write_batches
from curate.storage.store import Store


class Seen(PhaseFiles):
    phase = "seen"


@pytest.mark.parametrize("kept_bytes", [0, 100])
def test_a_cut_file_of_a_phase_is_named_with_the_way_out(tmp_path: Path, kept_bytes: int) -> None:
    store, name = Store(str(tmp_path)), Seen().spill_name(0)
    write_batches(store, name, SPILL, [pa.Table.from_pylist([], SPILL)])
    assert read_batch(store, name, 0).num_rows == 0
    path = tmp_path / name
    path.write_bytes(path.read_bytes()[:kept_bytes])
    with pytest.raises(
        DamagedStateError,
        match=r"_run/seen: spill-000000\.arrow is damaged or of another run; delete that folder",
    ):
        read_batch(store, name, 0)
