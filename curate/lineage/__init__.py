"""Versions of a run: `curate remove` makes a new one without some rows, `curate diff` compares two."""
