"""How options of commands say the settings of a student, and settings as such options. Importing this is cheap."""

from typing import TYPE_CHECKING

from models.embedded import SHIPPED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from store.records import RunSettings, Split


def adapters(option: list[str] | None) -> tuple[tuple[str, float], ...] | None:
    """The adapters that --adapter names, each with its scale; none for "none", and None where nothing is said."""
    if not option:
        return None
    if option == ["none"]:
        return ()
    found = []
    for each in option:
        path, equals, scale = each.rpartition("=")
        try:
            found.append((path, float(scale)) if equals else (each, 1.0))
        except ValueError:
            # An equals sign may be a part of the name.
            found.append((each, 1.0))
    return tuple(found)


def formats(option: str) -> tuple[str, ...]:
    """The formats that --knowledge names; "none" is none."""
    return tuple(name for name in (part.strip() for part in option.split(",")) if name and name != "none")


def options_of(settings: "RunSettings", *, names_shipped: bool = False) -> dict[str, list[str]]:
    """The options that make these settings, each with its values; what is usual has none. `--limit` and `--seed`
    are none of them.

    Args:
        names_shipped: whether the shipped student is named, too: the dataset has, or may get, a default adapter.
    """
    values: dict[str, object] = {
        # With an adapter, nothing said is what it was trained with.
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
        # Without its scale, an equals sign in a name would begin one.
        "--adapter": [
            path if scale == 1 and "=" not in path else f"{path}={scale:g}" for path, scale in settings.adapters
        ],
        **{option: [] if value is None else [str(value)] for option, value in values.items()},
    }


def evaluate_arguments(dataset: str, split: "Split", settings: "RunSettings", tags: "Sequence[str]" = ()) -> list[str]:
    """The words after `kdtui` that make a run with these settings, under these tags."""
    options: dict[str, list[str]] = {
        "--dataset": [dataset],
        "--split": [] if split == "test" else [split],
        # The run is of this student, whatever becomes the default of the dataset.
        **options_of(settings, names_shipped=True),
        "--limit": [] if settings.limit is None else [str(settings.limit)],
        "--seed": [str(settings.seed)] if settings.seed else [],
        "--prompt-price": [] if settings.prompt_price is None else [f"{settings.prompt_price:g}"],
        "--answer-price": [] if settings.answer_price is None else [f"{settings.answer_price:g}"],
        "--tag": list(tags),
    }
    # A value goes after "=" where it could be taken for an option.
    return [
        "evaluate",
        *(
            part
            for name, values in options.items()
            for value in values
            for part in ([f"{name}={value}"] if value.startswith("-") else [name, value])
        ),
    ]


def resume_arguments(run: int) -> list[str]:
    """The words after `kdtui` that go on with a run."""
    return ["evaluate", "--resume", str(run)]
