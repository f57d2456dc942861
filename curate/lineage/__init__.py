"""Versions of a run: what was removed on request, and how two versions differ."""
