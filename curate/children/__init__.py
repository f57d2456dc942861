"""Disposable child processes for code that may crash, hang or use too much memory."""
