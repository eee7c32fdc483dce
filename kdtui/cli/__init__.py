"""The command line. Importing it is fast: each command imports what it needs when it runs."""

import io
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from kdtui.cli import (
    calibrate,
    completion,
    data,
    demo,
    doctor,
    evaluate,
    generate,
    host,
    knowledge,
    model,
    router,
    runs,
    sample,
    sft,
    study,
)
from kdtui.cli.commands import App, NoArgsIsHelpError, UsageError, explain_usage
from kdtui.cli.options import DatabaseOption, database_path, remember_database
from kdtui.cli.signals import signals_as_interrupts

app = App(
    "Distil an LLM's knowledge of product bundles into a small local student.\n\nWithout a command, the app opens.",
    examples=[
        "kdtui",
        "kdtui demo",
        "kdtui generate --dataset demo-outdoor --title 'Two-person tent' --title 'Tent pegs' --title Kettle",
    ],
    name="kdtui",
    context_settings={"help_option_names": ["-h", "--help"]},
)
# The help lists them in this order; groups come after commands.
app.command("generate", short_help="Generate bundles with intents.", examples=generate.EXAMPLES)(generate.generate)
app.command("evaluate", short_help="Score a student next to the floors.", examples=evaluate.EXAMPLES)(evaluate.evaluate)
app.command("demo", short_help="Run the whole loop on the demo data.", examples=["kdtui demo"])(demo.demo)
app.command("doctor", short_help="Check what is installed and what is missing.", examples=["kdtui doctor"])(
    doctor.doctor
)
for name, group in (
    ("calibrate", calibrate.app),
    ("data", data.app),
    ("knowledge", knowledge.app),
    ("sample", sample.app),
    ("sft", sft.app),
    ("host", host.app),
    ("model", model.app),
    ("router", router.app),
    ("run", runs.app),
    ("study", study.app),
):
    app.add_typer(group, name=name)


def _show_version(value: bool) -> None:
    if value:
        from importlib.metadata import version

        print(f"kdtui {version('kdtui')}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def without_command(
    context: typer.Context,
    database: DatabaseOption = None,
    version: Annotated[  # noqa: ARG001
        bool, typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True)
    ] = False,
    install_completion: Annotated[  # noqa: ARG001
        bool,
        typer.Option(
            "--install-completion",
            help="Let this shell complete commands, options and names.",
            callback=completion.install_script,
            is_eager=True,
        ),
    ] = False,
    show_completion: Annotated[  # noqa: ARG001
        bool,
        typer.Option(
            "--show-completion",
            help="Print the completion script instead of installing it.",
            callback=completion.show_script,
            is_eager=True,
        ),
    ] = False,
) -> None:
    """Handle the options before a command; without a command, open the app."""
    if context.invoked_subcommand is not None:
        remember_database(database)
        return
    if not sys.stdin.isatty() or not sys.stdout.isatty():
        print("kdtui: the app needs a terminal; kdtui --help lists the commands", file=sys.stderr)
        raise typer.Exit(1)
    raise typer.Exit(context.obj(database_path(database)))


def run_command_line(open_app: Callable[[Path], int]) -> None:
    """Run the command line. An error that the user can fix is one sentence on stderr, and exit code 1.

    Args:
        open_app: opens the app on a database, if there is no command, and returns its exit code.
    """
    from kdtui.errors import KdtuiError
    from models.errors import ModelError
    from store.errors import StoreError

    # A terminal that cannot show a character gets a question mark instead of a traceback.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    if completion.prepare_answer():
        completion.answer_shell(partial(app, prog_name="kdtui"))
    try:
        for argument in sys.argv:
            if _is_undecodable(argument):
                raise KdtuiError(f"the argument {argument!r} is not UTF-8 text")
        with signals_as_interrupts():
            sys.exit(app(obj=open_app, prog_name="kdtui", standalone_mode=False))
    except UsageError as error:
        _explain_wrong_usage(error)
    except (KdtuiError, ModelError, StoreError) as error:
        _fail(str(error))
    except BrokenPipeError:
        # The reader has closed the pipe. Without this, Python would complain when it flushes stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        # Imported late: most commands that get here have imported sqlite3 already.
        import sqlite3

        from store.errors import explain

        if isinstance(error, sqlite3.Error):
            _fail(explain(error))
        if isinstance(error, OSError) and error.strerror:
            name = f"{error.filename}: " if isinstance(error.filename, str | Path) else ""
            _fail(f"{name}{error.strerror}")
        raise


def _is_undecodable(argument: str) -> bool:
    """Tell whether an argument has bytes that are not UTF-8; Python passes them on as lone surrogates."""
    return any("\ud800" <= character <= "\udfff" for character in argument)


def _explain_wrong_usage(error: UsageError) -> None:
    """Print one sentence on stderr, or the help page of a group without a command; exit code 2."""
    if isinstance(error, NoArgsIsHelpError):
        print(error.message, file=sys.stderr)
        sys.exit(2)
    _fail(explain_usage(error), 2)


def _fail(message: str, code: int = 1) -> None:
    from kdtui.text import one_line

    print(f"kdtui: {one_line(message)}", file=sys.stderr)
    sys.exit(code)
