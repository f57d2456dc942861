"""`python -m curate` and the program `curate`: set up the handling of Ctrl-C first, then import the slow modules."""

from __future__ import annotations

from curate.cli import faults


def main() -> None:
    """Run the command line."""
    faults.early_interrupt()
    faults.keep_bytecode_whole()
    faults.ProgramEnd().after(_run)


def _run() -> None:
    try:
        from curate.cli.app import main as run
    except Exception as error:  # a module of curate that cannot be imported is reported in one line, too
        faults.leave_unloaded(error)
    run()


if __name__ == "__main__":
    main()
