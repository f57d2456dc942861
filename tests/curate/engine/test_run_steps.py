"""What a run keeps in its journal if an error ends a step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from curate.engine.journal import Journal
from curate.engine.ledger import DONE_STATE, Ledger
from curate.engine.record import UnitRecord
from curate.engine.records import read_segments, segment_names
from curate.engine.run_steps import Steps
from curate.errors import DamagedStateError, Halted, MachineError
from curate.storage.store import Store


@pytest.mark.parametrize("error", [DamagedStateError, MachineError, Halted, KeyboardInterrupt])
def test_what_was_finished_is_in_the_journal_whatever_ends_a_step(
    tmp_path: Path, error: type[BaseException]
) -> None:
    journal: Any = Journal(Store(str(tmp_path)))
    journal.ledger = Ledger(2)
    steps: Any = Steps(None, journal, None, None)  # type: ignore[arg-type]

    def stopped() -> None:
        with steps._kept():
            journal.keep(UnitRecord(unit=1, inputs_in=0, rows_in=0, rows_out=0), DONE_STATE)
            raise error

    with pytest.raises(error):
        stopped()
    kept = [record.unit for _, record in read_segments(journal.store, segment_names(journal.store))]
    assert kept == [1]
