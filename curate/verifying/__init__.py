"""Check a finished folder, and repair damaged files."""
