"""The command line: the only printers."""
