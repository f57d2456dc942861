"""`python -m curate`, and the program `curate`: signals are answered before anything costly is imported."""

from __future__ import annotations

from curate.cli import faults


def main() -> None:
    """Run the command line."""
    faults.early_interrupt()
    faults.ProgramEnd().after(_run)


def _run() -> None:
    try:
        from curate.cli.app import main as run
    except (MemoryError, ImportError, OSError, RuntimeError) as error:
        faults.leave(error)
    run()


if __name__ == "__main__":
    main()
