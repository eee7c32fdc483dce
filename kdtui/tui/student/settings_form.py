"""The form that says whom to ask, with what knowledge, and how: the options of `kdtui generate`."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

from kdtui.distill.applicable import AICL
from kdtui.errors import KdtuiError
from kdtui.tui.core.choice import StudentChoice
from kdtui.tui.core.dialogs import Field, FormDialog
from kdtui.workflows.model_names import PATTERNS, is_endpoint
from kdtui.workflows.student.limits import why_no_adapter, why_no_knowledge, why_no_strategy
from kdtui.workflows.student.options import StudentOptions
from kdtui.workflows.student.settings import check_settings, settings_for
from models.embedded import NAME, SHIPPED
from models.student_protocol import STRATEGIES
from store.records import FORMATS, RunSettings

_AS_BEFORE = "="
"""For several adapters at once, which the form cannot name."""

_OTHER = ""
"""For a student that is named by hand."""

_ABOUT = {
    "shipped": "shipped: smollm2, trained",
    "smollm2": "smollm2: as it is",
    "patterns": "patterns: no language model",
}


def settings_form(
    title: str,
    choice: StudentChoice,
    offered: StudentOptions,
    dataset: str | None,
    command: Callable[[StudentChoice], str],
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

    fields = settings_fields(choice.settings, offered)
    return FormDialog(
        title,
        fields,
        verb=verb,
        check=check,
        command=shown,
        follow=partial(followed, offered),
        refuse=partial(refused, offered),
    )


def settings_fields(settings: RunSettings, offered: StudentOptions) -> list[Field]:
    """What a form asks for settings, which it has at first."""
    values = _values(settings, offered)

    def field(name: str, label: str, help: str = "") -> Field:
        return Field(name, label, value=values[name], help=help)

    def choice(name: str, label: str, options: list[tuple[str, str]]) -> Field:
        return Field(name, label, "choice", values[name], options=options)

    students = [(_ABOUT.get(name, name), name) for name in offered.students]
    strategies = [("as it was calibrated or trained, or list", ""), *((name, name) for name in (*STRATEGIES, AICL))]
    samples = [("all that is known", ""), *((name, name) for name in offered.samples)]
    near = [("words (BM25)", ""), *((f"vectors of {name}", name) for name in _near(settings, offered))]
    return [
        choice("student", "Student", [*students, ("another, named below", _OTHER)]),
        field("other", "  or another", "a GGUF file, or an endpoint: http://HOST:PORT/v1#MODEL"),
        choice("adapter", "Adapter", _adapters(settings, offered)),
        field("scale", "  acts with", "1 as it was trained, 0.5 half as strongly"),
        *(
            Field(
                format,
                f"Show {format}s",
                "switch",
                values[format],
                "" if format in offered.formats else f"the dataset has no {format}s yet",
            )
            for format in FORMATS
        ),
        choice("sample", "  of sample", samples),
        choice("domains", "  of domains", [("this dataset alone", ""), ("all that the sample has", "all")]),
        field("neighbours", "  of neighbours", "near sessions, 1 to 50; usually 1"),
        choice("near", "  near by", near),
        field("budget", "  in tokens", "of rules and thoughts; usually 600"),
        choice("strategy", "Strategy", strategies),
        field("context", "Context", "tokens of prompt and answer; usually 4096"),
    ]


def refused(offered: StudentOptions, values: Mapping[str, str]) -> dict[str, str]:
    """The fields that the student in the form has no use for, each with the reason.

    One that has a value is none of them: what stands in it can be taken out.
    """
    student, writer = _student(values), intent_writer_in(offered, values)
    found: dict[str, str] = {}
    if (why := why_no_adapter(student)) is not None:
        found |= {"adapter": why, "scale": why}
    elif not values["adapter"]:
        found["scale"] = "no adapter is chosen"
    if (why := why_no_knowledge(student, writer)) is not None:
        found |= dict.fromkeys(_KNOWLEDGE, why)
    elif not any(values[format] for format in FORMATS):
        # AICL learns from the nearest session, and is shown no knowledge of the store.
        about = ["sample", "domains", "budget"]
        about += [] if values["strategy"] == AICL else ["neighbours", "near"]
        found |= dict.fromkeys(about, "this is about knowledge: show some first")
    elif not values["sample"]:
        found["domains"] = "this is about a sample: choose one first"
    if (why := why_no_strategy(student, writer)) is not None:
        found["strategy"] = why
    if student == PATTERNS or is_endpoint(student):
        found["context"] = "it is about a language model that is here"
    return {name: why for name, why in found.items() if name == "scale" or not values[name].strip()}


def followed(
    offered: StudentOptions, before: Mapping[str, str], values: Mapping[str, str]
) -> tuple[dict[str, str], str] | None:
    """What else changes in the form with what has just been changed in it, and a sentence on that.

    An adapter is asked as it was trained, as it is by a command that says nothing else.
    """
    changed = {name for name in values if values[name] != before[name]}
    adapter = values["adapter"]
    if "adapter" in changed:
        follows, note = _with_adapter(adapter, values, offered)
    elif changed & {"student", "other"}:
        follows = _with_student(values, typed="other" in changed)
        student = _student({**values, **follows})
        others, note = _without_adapter(adapter, student, values, offered)
        follows |= others
        if _is_shown_none(student) and _names_knowledge({**values, **follows}):
            follows |= dict.fromkeys(_KNOWLEDGE, "")
            note = "; ".join([*([note] if note else []), f"{student} is shown no knowledge: it is taken away"])
    else:
        return None
    return {name: value for name, value in follows.items() if name not in changed}, note


def _with_adapter(adapter: str, values: Mapping[str, str], offered: StudentOptions) -> tuple[dict[str, str], str]:
    if adapter in ("", _AS_BEFORE):
        return {}, ""
    settings = offered.as_trained.get(adapter)
    if settings is not None:
        follows = {name: value for name, value in _values(settings, offered).items() if name in _TRAINED}
        lost = follows["sample"] and follows["sample"] not in offered.samples
        note = f"as {adapter} was trained: student, knowledge and strategy are set"
        return (follows | {"sample": ""}, f"{note}; its sample {settings.sample} is gone") if lost else (follows, note)
    # It goes with a student that has none, at least.
    student = dict(offered.adapters).get(adapter, NAME)
    follows = {} if _takes_adapters(_student(values)) else _named(student, offered)
    return follows, f"what {adapter} was trained with is not known; choose its student, and what it is shown"


def _with_student(values: Mapping[str, str], *, typed: bool) -> dict[str, str]:
    if not typed:
        return {} if values["student"] == _OTHER else {"other": ""}
    return {"student": _OTHER} if values["other"].strip() else {}


def chosen(
    values: Mapping[str, str], before: StudentChoice, offered: StudentOptions, dataset: str | None
) -> StudentChoice:
    """The choice that is in the form.

    Raises:
        KdtuiError: there can be no such choice.
    """
    knowledge = tuple(format for format in FORMATS if values[format])
    student = _student(values)
    if not student:
        raise KdtuiError("say which other student, or choose one")
    if student == SHIPPED and values["adapter"]:
        raise KdtuiError(f"the shipped student has an adapter of its own; choose {NAME}, or no adapter")
    if _is_shown_none(student) and _names_knowledge(values):
        raise KdtuiError(f"the {student} student is shown no knowledge; choose {NAME}, or leave knowledge out")
    writer = intent_writer_in(offered, values)
    if writer is not None and _names_knowledge(values):
        raise KdtuiError(f"{why_no_knowledge(student, writer)}; leave knowledge out")
    if writer is not None and values["strategy"] not in ("", "pairs"):
        raise KdtuiError(f"{why_no_strategy(student, writer)}; leave the strategy out")
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
        domains="all" if values["domains"] else "own",
        neighbours=whole_number(values["neighbours"], "neighbours", 1, 50),
        budget=whole_number(values["budget"], "tokens", 1),
        near=values["near"] or None,
    )
    check_settings(settings, dataset)
    missing = [format for format in knowledge if format not in offered.formats]
    if missing and settings.sample is None:
        raise KdtuiError(f"the dataset has no {missing[0]}s yet; distil them first, in place 3")
    return StudentChoice(settings)


def _without_adapter(
    adapter: str, student: str, values: Mapping[str, str], offered: StudentOptions
) -> tuple[dict[str, str], str]:
    """What changes where an adapter does not go with the student that is asked now."""
    settings = offered.as_trained.get(adapter)
    trained = {} if settings is None else _values(settings, offered)
    if not adapter or not student or student == trained.get("student") or student == trained.get("other"):
        return {}, ""
    if _takes_adapters(student):
        on = f"{adapter} was trained on {settings.student}; " if settings is not None else ""
        return {}, f"{on}whether {student} fits is seen when it is loaded"
    # What it was shown is its own, too; what somebody has chosen stays.
    shown = {name: "" for name in _TRAINED[2:] if trained.get(name) and values[name] == trained[name]}
    named = "the adapters are" if adapter == _AS_BEFORE else f"adapter {adapter} is"
    return {"adapter": "", **shown}, f"{student} goes with no adapter of yours: {named} taken away"


_KNOWLEDGE = (*FORMATS, "sample", "domains", "neighbours", "near", "budget")
"""What says which knowledge a student is shown."""

_TRAINED = ("student", "other", *_KNOWLEDGE, "strategy")
"""What is set in the form as an adapter was trained; in no strategy, the one that it was trained for."""


def _values(settings: RunSettings, offered: StudentOptions) -> dict[str, str]:
    """Settings as they are in a form."""
    scale = settings.adapters[0][1] if len(settings.adapters) == 1 else 1.0
    return {
        **_named(settings.student, offered),
        "adapter": _adapter(settings),
        "scale": f"{scale:g}",
        **{format: "yes" if format in settings.knowledge else "" for format in FORMATS},
        "sample": settings.sample or "",
        "domains": "all" if settings.domains == "all" else "",
        "neighbours": _text(settings.neighbours),
        "near": settings.near or "",
        "budget": _text(settings.budget),
        "strategy": settings.strategy or "",
        "context": _text(settings.context),
    }


def _named(student: str, offered: StudentOptions) -> dict[str, str]:
    is_offered = student in offered.students
    return {"student": student if is_offered else _OTHER, "other": "" if is_offered else student}


def _student(values: Mapping[str, str]) -> str:
    return values["other"].strip() or values["student"]


def _takes_adapters(student: str) -> bool:
    return why_no_adapter(student) is None


def _is_shown_none(student: str) -> bool:
    return why_no_knowledge(student) is not None


def intent_writer_in(offered: StudentOptions, values: Mapping[str, str]) -> str | None:
    """The adapter in the form, if it writes intents alone and goes with the student."""
    adapter = values["adapter"]
    return adapter if adapter in offered.intent_writers and _takes_adapters(_student(values)) else None


def _names_knowledge(values: Mapping[str, str]) -> bool:
    return any(values[name].strip() for name in _KNOWLEDGE)


def _adapter(settings: RunSettings) -> str:
    if len(settings.adapters) > 1:
        return _AS_BEFORE
    return settings.adapters[0][0] if settings.adapters else ""


def _adapters(settings: RunSettings, offered: StudentOptions) -> list[tuple[str, str]]:
    found = [("none beyond its own", "")]
    found += [(f"{name}, trained on {Path(student).stem}", name) for name, student in offered.adapters]
    if len(settings.adapters) > 1:
        found.append((" and ".join(f"{name} x {scale:g}" for name, scale in settings.adapters), _AS_BEFORE))
    elif settings.adapters and settings.adapters[0][0] not in dict(offered.adapters):
        found.append((settings.adapters[0][0], settings.adapters[0][0]))
    return found


def _near(settings: RunSettings, offered: StudentOptions) -> list[str]:
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
