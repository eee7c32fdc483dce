"""Convert command options to the settings of a student, and back. Importing this is cheap."""

from typing import TYPE_CHECKING

from models.embedded import SHIPPED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from store.records import RunSettings, Split


def adapters(option: list[str] | None) -> tuple[tuple[str, float], ...] | None:
    """Parse --adapter into adapters with their scales: empty for "none", None without the option."""
    if not option:
        return None
    if option == ["none"]:
        return ()
    parsed = []
    for each in option:
        path, equals, scale = each.rpartition("=")
        try:
            parsed.append((path, float(scale)) if equals else (each, 1.0))
        except ValueError:
            # The equals sign can be a part of the name.
            parsed.append((each, 1.0))
    return tuple(parsed)


def formats(option: str) -> tuple[str, ...]:
    """Parse --knowledge into formats; "none" is empty."""
    return tuple(name for name in (part.strip() for part in option.split(",")) if name and name != "none")


def options_of(settings: "RunSettings", *, names_shipped: bool = False) -> dict[str, list[str]]:
    """Return the options for these settings, each with its values; defaults have none. Without `--limit` and `--seed`.

    Args:
        names_shipped: whether to name the shipped student too: the dataset has, or may get, a default adapter.
    """
    values: dict[str, object] = {
        # With an adapter, no option means the knowledge that it was trained with.
        "--knowledge": ",".join(settings.knowledge) or ("none" if settings.adapters else None),
        "--sample": settings.sample,
        "--domains": "all" if settings.domains == "all" else None,
        "--neighbours": settings.neighbours,
        "--near": settings.near,
        "--budget": settings.budget,
        "--strategy": settings.strategy,
        "--context": settings.context,
    }
    return {
        "--student": [] if settings.student == SHIPPED and not names_shipped else [settings.student],
        # An equals sign in the name would be read as the start of a scale.
        "--adapter": [
            path if scale == 1 and "=" not in path else f"{path}={scale:g}" for path, scale in settings.adapters
        ],
        **{option: [] if value is None else [str(value)] for option, value in values.items()},
    }


def evaluate_arguments(dataset: str, split: "Split", settings: "RunSettings", tags: "Sequence[str]" = ()) -> list[str]:
    """Return the words after `kdtui` that make a run with these settings and tags."""
    options: dict[str, list[str]] = {
        "--dataset": [dataset],
        "--split": [] if split == "test" else [split],
        # The run is of this student, even if the default of the dataset changes.
        **options_of(settings, names_shipped=True),
        "--limit": [] if settings.limit is None else [str(settings.limit)],
        "--seed": [str(settings.seed)] if settings.seed else [],
        "--prompt-price": [] if settings.prompt_price is None else [f"{settings.prompt_price:g}"],
        "--answer-price": [] if settings.answer_price is None else [f"{settings.answer_price:g}"],
        "--tag": list(tags),
    }
    return ["evaluate", *option_words(options)]


def option_words(options: "Mapping[str, Sequence[str]]") -> list[str]:
    """Return options with their values as the words of a command. Several values repeat the option."""
    return [
        part
        for name, values in options.items()
        for value in values
        # A value that looks like an option goes after "=".
        for part in ([f"{name}={value}"] if value.startswith("-") else [name, value])
    ]


def resume_arguments(run: int) -> list[str]:
    """Return the words after `kdtui` that resume a run."""
    return ["evaluate", "--resume", str(run)]
