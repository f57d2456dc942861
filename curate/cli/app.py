"""The command line. Results go to standard output, everything else that people read to standard error.

Slow modules are imported only when a command needs them, so that `curate --help` answers at once.
"""

from __future__ import annotations

import logging
import signal
import sys
from typing import Annotated, Any

import typer

from curate.children.no_pandas import hide_pandas
from curate.cli import faults
from curate.cli.catalogue_commands import doctor, list_manifests, show
from curate.cli.finding_commands import diff, explain, report, trace, verify
from curate.cli.output_commands import export, fingerprint, held_out, pack, remove, score
from curate.cli.run_commands import calibrate, retry, run, select
from curate.cli.showing import results_alone
from curate.errors import CurateError, Stopped

app = typer.Typer(
    name="curate",
    help="Turn raw public data into training shards for vision-language models.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

UsageError: Any = typer.BadParameter.__base__  # click's class, or the copy in newer versions of Typer


def main() -> None:
    """Run the command; every expected error is one line on standard error and an exit code."""
    for number in (signal.SIGINT, signal.SIGTERM):  # both act like Ctrl-C: exit 130, and a run can be resumed
        signal.signal(number, signal.default_int_handler)
    try:
        sys.exit(app(standalone_mode=False))
    except CurateError as error:
        faults.show(str(error), error.exit_code)
        sys.exit(error.exit_code)
    except UsageError as error:
        command = error.ctx.command_path if error.ctx else "curate"
        said = error.format_message().rstrip(".")
        is_input = said.startswith("Got unexpected extra argument") and "--input" in (
            error.ctx.get_help() if error.ctx else ""
        )
        hint = "inputs go behind `--input`; " if is_input else ""
        faults.show(f"{said} ({hint}see `{command} --help`)", error.exit_code)
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, typer.Abort) as error:
        if isinstance(
            error.__cause__, EOFError
        ):  # click also aborts on EOFError, which a .pyc file raises that a full disk cut short
            faults.leave(error.__cause__)
        faults.show("interrupted", Stopped.exit_code)
        sys.exit(Stopped.exit_code)
    except BrokenPipeError:
        sys.exit(1)
    except Exception as error:
        faults.leave(error)


@app.callback(invoke_without_command=True)
def options(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log a line for every unit.")] = False,
) -> None:
    """Options that come before the command."""
    if version:
        from curate.version import __version__

        print(__version__)
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help(), file=sys.stderr)
        raise typer.Exit(2)
    if not {"-h", "--help"} & set(sys.argv):
        hide_pandas()
        context.with_resource(results_alone())
    logging.basicConfig(level=logging.WARNING, format="curate: %(message)s")
    if verbose:
        logging.getLogger("curate").setLevel(logging.DEBUG)
    else:
        _hush()


def _hush() -> None:
    """Hide the warnings and log messages of libraries; `--verbose` shows them."""
    import warnings

    warnings.simplefilter("ignore")
    ours = logging.getLogger("curate")
    ours.handlers, ours.propagate = logging.getLogger().handlers[:], False
    logging.getLogger().handlers = [logging.NullHandler()]


for command in (
    *(
        run,
        select,
        calibrate,
        retry,
        score,
        pack,
        export,
        fingerprint,
        held_out,
        remove,
        trace,
        diff,
        report,
        explain,
    ),
    verify,
):
    app.command()(command)
app.command("list")(list_manifests)
app.command()(show)
app.command()(doctor)
