"""Options that the commands of `kdtui sft` share."""

from typing import Annotated, Literal

import typer

from kdtui.cli import completion

NameArgument = Annotated[
    str, typer.Argument(help="Name of a training.", metavar="NAME", autocompletion=completion.names("trainings"))
]
DatasetsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--dataset",
        "-d",
        help="Whose training sessions; may be repeated.",
        metavar="NAME",
        autocompletion=completion.names("datasets"),
    ),
]
_ASKED = "What the student is asked: about pairs, for a list, or for the intents of bundles"
FormOption = Annotated[Literal["pairs", "list", "intents"], typer.Option("--form", help=f"{_ASKED}.")]
LaunchedFormOption = Annotated[
    Literal["pairs", "list", "intents"] | None, typer.Option("--form", help=f"{_ASKED} (pairs).")
]
_SHOWN = typer.Option(
    "--knowledge",
    help="Formats to learn with, comma-separated: pattern, rule, thought.",
    metavar="FORMATS",
    autocompletion=completion.lists(*completion.FORMATS),
)
ShownOption = Annotated[str, _SHOWN]
LaunchedKnowledgeOption = Annotated[str | None, _SHOWN]
_USED = "Knowledge is shown in the prompt, or learned to be written before a list"
UsageOption = Annotated[Literal["context", "target"], typer.Option("--as", help=f"{_USED}.")]
LaunchedUsageOption = Annotated[Literal["context", "target"] | None, typer.Option("--as", help=f"{_USED} (context).")]
EpochsOption = Annotated[int, typer.Option(help="Rounds; the products are shuffled in each.", min=1)]
SeedOption = Annotated[int, typer.Option(help="The same seed gives the same adapter.", min=0)]
LongestOption = Annotated[int, typer.Option(help="Longer examples are skipped.", min=1, metavar="TOKENS")]
_BASE = typer.Option(
    "--base",
    help="smollm2 (embedded), a name that kdtui model ls shows, a GGUF file, or a folder or id of transformers.",
    metavar="BASE",
    autocompletion=completion.names("bases", "smollm2"),
)
BaseOption = Annotated[str, _BASE]
LaunchedBaseOption = Annotated[str | None, _BASE]


HostOption = Annotated[
    str | None,
    typer.Option(
        "--host",
        help="On this host; kdtui host ls shows them.",
        metavar="NAME",
        autocompletion=completion.names("hosts"),
    ),
]
FromOption = Annotated[
    str | None,
    typer.Option(
        "--from",
        help="Begin from this adapter: shipped, that of a training, a folder of PEFT or a GGUF file. Its form, "
        "knowledge, rank and alpha are taken over.",
        metavar="ADAPTER",
        autocompletion=completion.names("adapters", "shipped"),
    ),
]
EvaluateOption = Annotated[
    bool,
    typer.Option("--evaluate", help="When it is done, score the adapter on the validation splits of its datasets."),
]
