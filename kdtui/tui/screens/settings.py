"""The form that says whom to ask, with what knowledge, and how: the options of `kdtui generate`."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from kdtui.distill.applicable import AICL
from kdtui.errors import KdtuiError
from kdtui.tui.choice import Choice
from kdtui.tui.screens.dialogs import Field, FormDialog
from kdtui.workflows.offered import Offered
from kdtui.workflows.students import check_settings, settings_for
from models.answers import STRATEGIES
from store.records import FORMATS, RunSettings

_AS_BEFORE = "="
"""For several adapters at once, which the form cannot name."""

_ABOUT = {
    "shipped": "shipped: smollm2, trained",
    "smollm2": "smollm2: as it is",
    "patterns": "patterns: no language model",
}


def settings_form(
    title: str,
    choice: Choice,
    offered: Offered,
    dataset: str | None,
    command: Callable[[Choice], str],
    verb: str,
) -> FormDialog:
    """A form for a choice; `chosen` makes one of its values.

    Args:
        command: what a choice does.
    """

    def check(values: Mapping[str, str]) -> str | None:
        try:
            chosen(values, choice, offered, dataset)
        except KdtuiError as error:
            return str(error)
        return None

    def shown(values: Mapping[str, str]) -> str:
        with suppress(KdtuiError):
            return command(chosen(values, choice, offered, dataset))
        return ""

    return FormDialog(title, settings_fields(choice.settings, offered), verb=verb, check=check, command=shown)


def settings_fields(settings: RunSettings, offered: Offered) -> list[Field]:
    """What a form asks for settings, which it has at first."""
    students = [(_ABOUT.get(name, name), name) for name in offered.students]
    other = "" if settings.student in offered.students else settings.student
    scale = settings.adapters[0][1] if len(settings.adapters) == 1 else 1.0
    strategies = [("as it was calibrated or trained, or list", ""), *((name, name) for name in (*STRATEGIES, AICL))]
    return [
        Field("student", "Student", "choice", settings.student, options=students),
        Field("other", "  or another", value=other, help="a GGUF file, or an endpoint: http://HOST:PORT/v1#MODEL"),
        Field("adapter", "Adapter", "choice", _adapter(settings), options=_adapters(settings, offered)),
        Field("scale", "  acts with", value=f"{scale:g}", help="1 as it was trained, 0.5 half as strongly"),
        *(
            Field(
                format,
                f"Show {format}s",
                "switch",
                "yes" if format in settings.knowledge else "",
                "" if format in offered.formats else f"the dataset has no {format}s yet",
            )
            for format in FORMATS
        ),
        Field(
            "sample",
            "  of sample",
            "choice",
            settings.sample or "",
            options=[("all that is known", ""), *((name, name) for name in offered.samples)],
        ),
        Field(
            "neighbours", "  of neighbours", value=_text(settings.neighbours), help="near sessions, 1 to 50; usually 1"
        ),
        Field(
            "near",
            "  near by",
            "choice",
            settings.near or "",
            options=[("words (BM25)", ""), *((f"vectors of {name}", name) for name in _near(settings, offered))],
        ),
        Field("budget", "  in tokens", value=_text(settings.budget), help="of rules and thoughts; usually 600"),
        Field("strategy", "Strategy", "choice", settings.strategy or "", options=strategies),
        Field("context", "Context", value=_text(settings.context), help="tokens of prompt and answer; usually 4096"),
    ]


def chosen(values: Mapping[str, str], before: Choice, offered: Offered, dataset: str | None) -> Choice:
    """The choice that is in the form.

    Raises:
        KdtuiError: there can be no such choice.
    """
    knowledge = tuple(format for format in FORMATS if values[format])
    student = values["other"].strip() or values["student"]
    adapters = before.settings.adapters if values["adapter"] == _AS_BEFORE else None
    if values["adapter"] not in ("", _AS_BEFORE):
        adapters = ((values["adapter"], _scale(values["scale"])),)
    settings = settings_for(
        student,
        knowledge,
        context=whole_number(values["context"], "context", 256),
        strategy=values["strategy"] or None,
        adapters=adapters,
        sample=values["sample"] or None,
        neighbours=whole_number(values["neighbours"], "neighbours", 1, 50),
        budget=whole_number(values["budget"], "tokens", 1),
        near=values["near"] or None,
    )
    check_settings(settings, dataset)
    missing = [format for format in knowledge if format not in offered.formats]
    if missing and settings.sample is None:
        raise KdtuiError(f"the dataset has no {missing[0]}s yet; distil them first, in place 3")
    return Choice(settings)


def _adapter(settings: RunSettings) -> str:
    if len(settings.adapters) > 1:
        return _AS_BEFORE
    return settings.adapters[0][0] if settings.adapters else ""


def _adapters(settings: RunSettings, offered: Offered) -> list[tuple[str, str]]:
    found = [("none beyond its own", "")]
    found += [(f"{name}, trained on {Path(student).stem}", name) for name, student in offered.adapters]
    if len(settings.adapters) > 1:
        found.append((" and ".join(f"{name} x {scale:g}" for name, scale in settings.adapters), _AS_BEFORE))
    elif settings.adapters and settings.adapters[0][0] not in dict(offered.adapters):
        found.append((settings.adapters[0][0], settings.adapters[0][0]))
    return found


def _near(settings: RunSettings, offered: Offered) -> list[str]:
    return list(dict.fromkeys((*offered.near, *([settings.near] if settings.near else []))))


def _text(number: int | None) -> str:
    return "" if number is None else str(number)


def whole_number(text: str, what: str, least: int, most: int | None = None) -> int | None:
    """A whole number; None for nothing, which stands for the usual one.

    Raises:
        KdtuiError: it is none, or out of its bounds.
    """
    if not text.strip():
        return None
    within = f"between {least:,} and {most:,}" if most is not None else f"from {least:,} on"
    with suppress(ValueError):
        # Longer ones would be none of SQLite's.
        number = int(text) if len(text) < 10 else -1
        if least <= number and (most is None or number <= most):
            return number
    raise KdtuiError(f"{what}: a whole number {within}, or nothing for the usual one")


def _scale(text: str) -> float:
    if not text.strip():
        return 1.0
    try:
        return float(text)
    except ValueError as error:
        raise KdtuiError("an adapter acts with a number such as 0.5") from error
