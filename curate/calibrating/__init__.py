"""`curate calibrate`: measure on a sample, before a run, what each rule drops and what each threshold would keep."""

from curate.calibrating.calibrate import ROWS, calibrate
from curate.calibrating.said import lines
from curate.calibrating.shares import share_of

__all__ = ["ROWS", "calibrate", "lines", "share_of"]
