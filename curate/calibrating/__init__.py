"""`curate calibrate`: what each rule and each threshold would drop, measured on a sample before anything runs."""

from curate.calibrating.calibrate import ROWS, calibrate
from curate.calibrating.said import lines
from curate.calibrating.shares import share_of

__all__ = ["ROWS", "calibrate", "lines", "share_of"]
