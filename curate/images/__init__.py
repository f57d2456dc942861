"""Checks images, turns them upright, shrinks and encodes them. The work is done in child processes."""
