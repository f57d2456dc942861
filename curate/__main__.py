"""`python -m curate`."""

from curate.cli.app import main

main()
