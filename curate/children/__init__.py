"""Disposable child processes for what may crash, hang or swell."""
