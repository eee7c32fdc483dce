"""Options that several commands share, and the functions that interpret them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from kdtui.cli import completion
from kdtui.cli.commands import LARGEST as LARGEST
from kdtui.cli.output import OUTPUTS, Output
from kdtui.workflows.student.command_options import adapters as adapters
from kdtui.workflows.student.command_options import formats as formats

if TYPE_CHECKING:
    from store.records import Format
    from store.sqlite import Database


def _database_file(text: str) -> Path:
    # An empty path would be the current folder.
    if not text:
        raise typer.BadParameter("it is empty; name a database file, or leave out --db")
    return Path(text)


DatabaseOption = Annotated[
    Path | None,
    typer.Option(
        "--db",
        help="Database file (or set KDTUI_DB); by default in your data folder.",
        metavar="PATH",
        parser=_database_file,
    ),
]
DatasetOption = Annotated[
    str | None,
    typer.Option(
        "--dataset",
        "-d",
        help="Dataset; optional if there is only one.",
        metavar="NAME",
        autocompletion=completion.names("datasets"),
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, one object per line; short for --format json.")]
OutputOption = Annotated[
    Output | None,
    typer.Option("--format", help="Output format: table, json, csv or markdown.", metavar="FORMAT"),
]
KnowledgeFormatOption = Annotated[
    list[str] | None,
    typer.Option(
        "--format",
        "-f",
        help="Only this format of knowledge (pattern, rule, thought), or the output format (table, json, csv, "
        "markdown); may be repeated.",
        metavar="FORMAT",
        autocompletion=completion.several_of(*completion.FORMATS, *OUTPUTS),
    ),
]
# Commands look for one row more than the limit, to know whether there are more.
LimitOption = Annotated[
    int, typer.Option("--limit", "-n", help="Print at most N rows.", min=1, max=LARGEST - 1, metavar="N")
]
SessionsOption = Annotated[
    int | None,
    typer.Option(
        "--limit",
        help="Use only N sessions, drawn at random: the same ones each time, and a larger N includes them.",
        min=1,
        max=LARGEST,
        metavar="N",
    ),
]
SeedOption = Annotated[
    int | None,
    typer.Option("--seed", help="Seed for drawing the sessions of --limit (0).", min=0, max=LARGEST, metavar="N"),
]
CalibratedStudentOption = Annotated[
    str,
    typer.Option(
        "--student",
        "-s",
        help="smollm2 (untrained), a name from kdtui model ls, or a GGUF file; the other students need no calibration.",
        metavar="STUDENT",
        autocompletion=completion.names("bases", "smollm2"),
    ),
]
AskedStudentOption = Annotated[
    str | None,
    typer.Option(
        "--student",
        "-s",
        help="shipped, smollm2 (untrained), patterns (no language model), a name from kdtui model ls, a GGUF file, or "
        "URL#MODEL; by default the dataset's default adapter (kdtui sft default) on its own base, or shipped.",
        metavar="STUDENT",
        autocompletion=completion.names("bases", *completion.STUDENTS),
    ),
]
KnowledgeOption = Annotated[
    str,
    typer.Option(
        "--knowledge",
        help="Knowledge in the prompt, comma-separated: pattern, rule, thought.",
        metavar="FORMATS",
        autocompletion=completion.several_of(*completion.FORMATS),
    ),
]
AskedKnowledgeOption = Annotated[
    str | None,
    typer.Option(
        "--knowledge",
        help="Knowledge in the prompt, comma-separated: pattern, rule, thought; or none. By default the formats that "
        "the adapter was trained with.",
        metavar="FORMATS",
        autocompletion=completion.several_of(*completion.FORMATS, "none"),
    ),
]
SampleOption = Annotated[
    str | None,
    typer.Option(
        "--sample",
        help="Use only the knowledge in this sample.",
        metavar="NAME",
        autocompletion=completion.names("samples"),
    ),
]
DomainsOption = Annotated[
    Literal["own", "all"],
    typer.Option("--domains", help="Show the sample's knowledge of this dataset (own), or of all datasets."),
]
NeighboursOption = Annotated[
    int | None,
    typer.Option(
        "--neighbours", "-k", help="Number of nearest training sessions whose thoughts are shown (1).", min=1, max=50
    ),
]
NearOption = Annotated[
    str | None,
    typer.Option(
        "--near",
        help="Find the nearest sessions by vectors of this model, not by words (BM25); see kdtui data embed.",
        metavar="MODEL",
        autocompletion=completion.names("bases", "minilm", "smollm2"),
    ),
]
BudgetOption = Annotated[
    int | None,
    typer.Option(
        "--budget", help="Tokens for rules and thoughts in one prompt (600).", min=1, max=LARGEST, metavar="N"
    ),
]
StrategyOption = Annotated[
    str | None,
    typer.Option(
        "--strategy",
        help="list, drafts, pairs or aicl; by default the calibrated strategy, that of the adapter, or list.",
        metavar="NAME",
        autocompletion=completion.one_of(*completion.STRATEGIES),
    ),
]
AdapterOption = Annotated[
    list[str] | None,
    typer.Option(
        "--adapter",
        "-a",
        help="LoRA adapter: a name or a GGUF file, with a scale; may be repeated. none: no adapter.",
        metavar="NAME[=SCALE]",
        autocompletion=completion.names("adapters", "none"),
    ),
]
PromptPriceOption = Annotated[
    float | None,
    typer.Option(
        "--prompt-price",
        help="Price of a million prompt tokens; without prices, costs are unknown.",
        min=0,
        metavar="PRICE",
    ),
]
AnswerPriceOption = Annotated[
    float | None,
    typer.Option("--answer-price", help="Price of a million answer tokens.", min=0, metavar="PRICE"),
]
MaxCallsOption = Annotated[
    int | None,
    typer.Option("--max-calls", help="Pay for at most N calls.", min=0, max=LARGEST, metavar="N"),
]
MaxCostOption = Annotated[
    float | None,
    typer.Option("--max-cost", help="Pay at most this amount, by the given prices.", min=0, metavar="COST"),
]
AnswerTokensOption = Annotated[
    int | None,
    typer.Option(
        "--answer-tokens",
        help="Maximum tokens of an answer, including its reasoning (1024).",
        min=1,
        max=LARGEST,
        metavar="N",
    ),
]
RetryFailedOption = Annotated[
    bool, typer.Option("--retry-failed", help="Repeat calls that gave no usable answer, and pay for them again.")
]
PiecesOption = Annotated[
    str | None,
    typer.Option("--pieces", help="Only these pieces: 3,17,40-52; - reads the numbers from stdin.", metavar="NUMBERS"),
]
QueryOption = Annotated[
    str | None,
    typer.Option(
        "--query", "-q", help="Only the pieces that kdtui knowledge search --all QUERY finds.", metavar="QUERY"
    ),
]
ContextOption = Annotated[
    int | None,
    typer.Option("--context", help="Context length: tokens of prompt and answer together.", min=256, metavar="N"),
]


def finite(value: float | None) -> float | None:
    """Refuse NaN and infinity as the value of an option: NaN would pass its minimum and maximum.

    Raises:
        typer.BadParameter: the value is NaN or infinite.
    """
    if value is not None and not isfinite(value):
        raise typer.BadParameter(f"{value} is not a finite number.")
    return value


def chosen_output(output: Output | None, as_json: bool) -> Output:
    """Return the output format that --format and --json name."""
    if as_json and output not in (None, "json"):
        raise typer.BadParameter(f"--json and --format {output} contradict each other; give only one of them")
    return "json" if as_json else output or "table"


_named: Path | None = None
"""The database that --db names, before or after the command."""


def remember_database(path: Path | None) -> None:
    """Make `kdtui --db PATH COMMAND` mean the same as `kdtui COMMAND --db PATH`."""
    global _named
    _named = path
    if path is not None:
        os.environ["KDTUI_DB"] = str(path)


def next_command(*words: str, database: Path | None = None) -> str:
    """Return a command line to type next, with the --db option of this command if it has one.

    Args:
        words: the words after `kdtui`.
        database: the option of this command; needed if it has not opened its store yet.
    """
    import shlex

    named = database if database is not None else _named
    return shlex.join(["kdtui", *words, *(["--db", str(named)] if named is not None else [])])


def no_dataset_yet() -> str:
    """Say how to get a first dataset."""
    imports = next_command("data", "import", "PATH", "--dataset", "NAME")
    return f"there is no dataset yet; try {next_command('demo')}, or {imports}"


def database_path(option: Path | None) -> Path:
    """Return the database that the option, or else the environment, names."""
    from store.location import default_path

    return option if option is not None else default_path()


@contextmanager
def open_store(option: Path | None) -> Iterator[Database]:
    """Open the store for one command. A missing database reads as empty; the first write creates it."""
    from kdtui.cli.output import say
    from kdtui.workflows.waiting import WaitNotice
    from store.database import open_database
    from store.errors import NotFound
    from store.location import database_exists, is_path_configured

    global _named
    _named = option if option is not None else _named
    path = database_path(option)
    waiting = WaitNotice(lambda sentence: say(f"kdtui: {sentence}; ctrl+c gives up"))
    db = open_database(path, make=False, on_wait=waiting)
    if db.copy_before_upgrade is not None:
        from store.upgrade import upgrade_in_words

        say(f"kdtui: {upgrade_in_words(db.copy_before_upgrade)}")
    try:
        yield db
    except NotFound as error:
        if database_exists(path):
            raise
        raise NotFound(f"{error} (there is no database {path} yet)") from None
    else:
        # The name may be mistyped.
        if (option is not None or is_path_configured()) and not database_exists(path):
            say(f"kdtui: there is no database {path} yet; the first command that stores something creates it")
    finally:
        db.close()


def check_seed(limit: int | None, seed: int | None) -> int:
    """Return the seed for drawing the sessions of --limit.

    Raises:
        BadParameter: there is a seed, but no limit.
    """
    if seed is not None and limit is None:
        raise typer.BadParameter("--seed is for drawing the sessions of --limit; give --limit too", param_hint="--seed")
    return seed or 0


def chosen_dataset(db: Database, option: str | None) -> str:
    """Return the dataset that the option names, or the only dataset.

    Raises:
        NotFound: there is no option and no dataset.
        KdtuiError: there is no option, and there are several datasets.
    """
    from kdtui.errors import KdtuiError
    from store.datasets import dataset_names
    from store.errors import NotFound

    if option is not None:
        return option
    names = dataset_names(db)
    if not names:
        raise NotFound(no_dataset_yet())
    if len(names) > 1:
        raise KdtuiError(f"there are several datasets; name one with --dataset: {', '.join(names)}")
    return names[0]


def chosen_pieces(db: Database, numbers: str | None, query: str | None) -> list[int] | None:
    """Return the numbers of the pieces that --pieces and --query select together; None without either option.

    Raises:
        KdtuiError: the numbers or the query cannot be parsed, or the query finds nothing.
        NotFound: the query names an unknown dataset or sample, or no piece has one of the numbers.
    """
    if numbers is None and query is None:
        return None
    from kdtui.workflows.knowledge.pieces import pieces_named

    return pieces_named(db, sys.stdin.read() if numbers == "-" else numbers, query)


def formats_and_output(
    option: list[str] | None, as_json: bool, among: tuple[Format, ...]
) -> tuple[tuple[Format, ...], Output]:
    """Split a --format with two meanings into knowledge formats and the output format.

    Returns:
        the knowledge formats, none of them for all; and the output format.

    Raises:
        KdtuiError: a name is neither.
    """
    named = [name for value in option or () for name in formats(value)]
    outputs: dict[str, Output] = {output: output for output in OUTPUTS}
    named_outputs = list(dict.fromkeys(outputs[name] for name in named if name in outputs))
    if len(named_outputs) > 1:
        raise typer.BadParameter(
            f"--format {named_outputs[0]} and {named_outputs[1]} contradict each other; give only one of them"
        )
    knowledge = [name for name in named if name not in outputs]
    names_nothing = option is not None and not named_outputs
    chosen = some_formats(",".join(knowledge), among, also=OUTPUTS) if knowledge or names_nothing else ()
    return chosen, chosen_output(named_outputs[0] if named_outputs else None, as_json)


def some_formats(option: str, among: tuple[Format, ...], *, also: Sequence[str] = ()) -> tuple[Format, ...]:
    """Return the knowledge formats that an option names.

    Args:
        among: the formats that it can name.
        also: other values that the option takes, for the message.

    Raises:
        KdtuiError: it names another format, or none.
    """
    from kdtui.errors import KdtuiError
    from store.similar import suggestion

    named = formats(option)
    unknown = [name for name in named if name not in among]
    if unknown or not named:
        wrong, names = (unknown or [option])[0], (*among, *also)
        there_are = f"there are: {', '.join(names)}"
        raise KdtuiError(f"there is no format {wrong!r} here; {suggestion(wrong, names, there_are)}")
    return tuple(format for format in among if format in named)
