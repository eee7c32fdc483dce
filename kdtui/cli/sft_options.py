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
        help="Train on the sessions of this dataset; may be repeated.",
        metavar="NAME",
        autocompletion=completion.names("datasets"),
    ),
]
_FORMS = "What the student learns: to judge pairs, to write the list of bundles, or to write intents"
FormOption = Annotated[Literal["pairs", "list", "intents"], typer.Option("--form", help=f"{_FORMS}.")]
LaunchedFormOption = Annotated[
    Literal["pairs", "list", "intents"] | None, typer.Option("--form", help=f"{_FORMS}; by default pairs.")
]
_KNOWLEDGE = typer.Option(
    "--knowledge",
    help="Knowledge formats to train with, comma-separated: pattern, rule, thought.",
    metavar="FORMATS",
    autocompletion=completion.several_of(*completion.FORMATS),
)
ShownOption = Annotated[str, _KNOWLEDGE]
LaunchedKnowledgeOption = Annotated[str | None, _KNOWLEDGE]
_USAGES = "Show knowledge in the prompt (context), or train the student to write it before a list (target)"
UsageOption = Annotated[Literal["context", "target"], typer.Option("--as", help=f"{_USAGES}.")]
LaunchedUsageOption = Annotated[
    Literal["context", "target"] | None, typer.Option("--as", help=f"{_USAGES}; by default context.")
]
EpochsOption = Annotated[int, typer.Option(help="Number of epochs; products are shuffled in each.", min=1)]
SeedOption = Annotated[
    int, typer.Option(help="Seed of the training; on a processor, the same seed gives the same adapter.", min=0)
]
LongestOption = Annotated[
    int, typer.Option(help="Skip examples with more than this number of tokens.", min=1, metavar="TOKENS")
]
_BASE = typer.Option(
    "--base",
    help="Base model: smollm2 (embedded), a name from kdtui model ls, a GGUF file, or a transformers folder or id.",
    metavar="BASE",
    autocompletion=completion.names("bases", "smollm2"),
)
BaseOption = Annotated[str, _BASE]
LaunchedBaseOption = Annotated[str | None, _BASE]


HostOption = Annotated[
    str | None,
    typer.Option(
        "--host",
        help="Train on this host; kdtui host ls lists the hosts.",
        metavar="NAME",
        autocompletion=completion.names("hosts"),
    ),
]
FromOption = Annotated[
    str | None,
    typer.Option(
        "--from",
        help="Start from this adapter (shipped, a training, a PEFT folder or a GGUF file), with its form, knowledge, "
        "rank and alpha.",
        metavar="ADAPTER",
        autocompletion=completion.names("adapters", "shipped"),
    ),
]
EvaluateOption = Annotated[
    bool,
    typer.Option(
        "--evaluate", help="When the training is done, score the adapter on the validation splits of its datasets."
    ),
]
