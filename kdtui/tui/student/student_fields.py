"""The fields that ask for a student, its knowledge and its strategy: what the options of `kdtui generate` say.

The forms for the workbench, for evaluations and for calibrations share them.
"""

from collections.abc import Mapping
from pathlib import Path

from kdtui.distill.applicable import AICL
from kdtui.errors import KdtuiError
from kdtui.tui.core.choice import StudentChoice
from kdtui.tui.core.forms import Field, FollowUp, whole_number
from kdtui.workflows.model_names import PATTERNS, is_endpoint
from kdtui.workflows.student.limits import why_no_adapter, why_no_knowledge, why_no_strategy
from kdtui.workflows.student.options import StudentOptions
from kdtui.workflows.student.settings import check_settings, settings_for
from models.embedded import NAME, SHIPPED
from models.student_protocol import STRATEGIES
from store.records import FORMATS, RunSettings

_SEVERAL = "="
"""The option of the field `adapter` that keeps several adapters as they are; it is no valid name of an adapter.

The form cannot name several. `parse` replaces the option by the adapters."""

_OTHER = ""
"""The option of the field `student` for a name that is typed in the field `other`; `parse` replaces it by that."""

_LABELS = {
    "shipped": "shipped: smollm2, trained",
    "smollm2": "smollm2: as it is",
    "patterns": "patterns: no language model",
}

_KNOWLEDGE = (*FORMATS, "sample", "domains", "neighbours", "near", "budget")
"""The fields that say which knowledge a student gets."""

_TRAINED = ("student", "other", *_KNOWLEDGE, "strategy")
"""The fields that take the values of an adapter's training. An empty strategy is the one that it was trained for."""


class StudentFields:
    """The fields for a student and its settings.

    Args:
        choice: the initial values.
        options: what the fields offer.
    """

    def __init__(self, choice: StudentChoice, options: StudentOptions) -> None:
        self._choice, self._options = choice, options

    @property
    def fields(self) -> list[Field]:
        """The fields, with their initial values."""
        settings, options = self._choice.settings, self._options
        values = self._values_of(settings)

        def text(name: str, label: str, help: str = "") -> Field:
            return Field(name, label, value=values[name], help=help)

        def choice(name: str, label: str, choices: list[tuple[str, str]]) -> Field:
            return Field(name, label, "choice", values[name], options=choices)

        students = [(_LABELS.get(name, name), name) for name in options.students]
        strategies = [("as calibrated or trained, or list", ""), *((name, name) for name in (*STRATEGIES, AICL))]
        samples = [("all knowledge", ""), *((name, name) for name in options.samples)]
        embedders = dict.fromkeys((*options.near, *([settings.near] if settings.near else [])))
        near = [("words (BM25)", ""), *((f"vectors of {name}", name) for name in embedders)]
        return [
            choice("student", "Student", [*students, ("another, named below", _OTHER)]),
            text("other", "  or another", "a GGUF file, or an endpoint: http://HOST:PORT/v1#MODEL"),
            choice("adapter", "Adapter", self._adapter_choices()),
            text("scale", "  scaled by", "1 as it was trained, 0.5 for half the effect"),
            *(
                Field(
                    format,
                    f"Show {format}s",
                    "switch",
                    values[format],
                    "" if format in options.formats else f"the dataset has no {format}s yet",
                )
                for format in FORMATS
            ),
            choice("sample", "  of sample", samples),
            choice("domains", "  of domains", [("this dataset only", ""), ("all in the sample", "all")]),
            text("neighbours", "  of neighbours", "similar sessions, 1 to 50; 1 by default"),
            choice("near", "  similar by", near),
            text("budget", "  in tokens", "of rules and thoughts; 600 by default"),
            choice("strategy", "Strategy", strategies),
            text("context", "Context", "tokens of prompt and answer; 4096 by default"),
        ]

    def parse(
        self, values: Mapping[str, str], dataset: str | None, options: StudentOptions | None = None
    ) -> StudentChoice:
        """Return the student and the settings that the fields describe.

        Args:
            dataset: the dataset that the student answers; None where there is none.
            options: what that dataset offers, where the fields offer more.

        Raises:
            KdtuiError: the values do not describe a student, or the dataset lacks something.
        """
        options = options or self._options
        knowledge = tuple(format for format in FORMATS if values[format])
        student = _student_in(values)
        if not student:
            raise KdtuiError("name the other student, or choose one")
        if student == SHIPPED and values["adapter"]:
            raise KdtuiError(f"the shipped student has an adapter of its own; choose {NAME}, or no adapter")
        if why_no_knowledge(student) is not None and _has_knowledge(values):
            raise KdtuiError(f"the {student} student is shown no knowledge; choose {NAME}, or leave knowledge out")
        writer = intent_writer_in(options, values)
        if writer is not None and _has_knowledge(values):
            raise KdtuiError(f"{why_no_knowledge(student, writer)}; leave knowledge out")
        if writer is not None and values["strategy"] not in ("", "pairs"):
            raise KdtuiError(f"{why_no_strategy(student, writer)}; leave the strategy out")
        settings = settings_for(
            student,
            knowledge,
            context=whole_number(values["context"], "context", 256),
            strategy=values["strategy"] or None,
            adapters=self._adapters_in(values),
            sample=values["sample"] or None,
            domains="all" if values["domains"] else "own",
            neighbours=whole_number(values["neighbours"], "neighbours", 1, 50),
            budget=whole_number(values["budget"], "tokens", 1),
            near=values["near"] or None,
        )
        check_settings(settings, dataset)
        missing = [format for format in knowledge if format not in options.formats]
        if missing and settings.sample is None:
            raise KdtuiError(f"the dataset has no {missing[0]}s yet; distil them first, in place 3")
        return StudentChoice(settings)

    def unused(self, values: Mapping[str, str]) -> dict[str, str]:
        """Return the fields that have no effect on the student, each with the reason.

        A field with a value is not among them, so that the user can clear it.
        """
        student, writer = _student_in(values), intent_writer_in(self._options, values)
        reasons: dict[str, str] = {}
        if (why := why_no_adapter(student)) is not None:
            reasons |= {"adapter": why, "scale": why}
        elif not values["adapter"]:
            reasons["scale"] = "no adapter is chosen"
        if (why := why_no_knowledge(student, writer)) is not None:
            reasons |= dict.fromkeys(_KNOWLEDGE, why)
        elif not any(values[format] for format in FORMATS):
            # AICL learns from the nearest session and gets no knowledge of the store.
            names = ["sample", "domains", "budget"]
            names += [] if values["strategy"] == AICL else ["neighbours", "near"]
            reasons |= dict.fromkeys(names, "this needs knowledge: choose a format first")
        elif not values["sample"]:
            reasons["domains"] = "this needs a sample: choose one first"
        if (why := why_no_strategy(student, writer)) is not None:
            reasons["strategy"] = why
        if student == PATTERNS or is_endpoint(student):
            reasons["context"] = "this needs a language model on this machine"
        return {name: why for name, why in reasons.items() if name == "scale" or not values[name].strip()}

    def follow(self, before: Mapping[str, str], values: Mapping[str, str]) -> FollowUp | None:
        """Return what changes with the adapter or the student that the user has changed.

        With an adapter, the student is set as it was trained, like in a command that says nothing else.
        """
        changed = {name for name in values if values[name] != before[name]}
        if "adapter" in changed:
            changes, note = self._follow_adapter(values["adapter"], values)
        elif changed & {"student", "other"}:
            changes = _follow_student(values, is_typed="other" in changed)
            student = _student_in({**values, **changes})
            removals, note = self._remove_adapter(values["adapter"], student, values)
            changes |= removals
            if why_no_knowledge(student) is not None and _has_knowledge({**values, **changes}):
                changes |= dict.fromkeys(_KNOWLEDGE, "")
                note = "; ".join([*([note] if note else []), f"{student} is shown no knowledge: it is removed"])
        else:
            return None
        return FollowUp({name: value for name, value in changes.items() if name not in changed}, note)

    def _follow_adapter(self, adapter: str, values: Mapping[str, str]) -> tuple[dict[str, str], str]:
        if adapter in ("", _SEVERAL):
            return {}, ""
        settings = self._options.as_trained.get(adapter)
        if settings is not None:
            changes = {name: value for name, value in self._values_of(settings).items() if name in _TRAINED}
            note = f"student, knowledge and strategy are set as {adapter} was trained"
            if changes["sample"] and changes["sample"] not in self._options.samples:
                return changes | {"sample": ""}, f"{note}; its sample {settings.sample} no longer exists"
            return changes, note
        # The adapter needs at least a student that takes adapters.
        student = dict(self._options.adapters).get(adapter, NAME)
        changes = {} if why_no_adapter(_student_in(values)) is None else self._name_of(student)
        return changes, f"what {adapter} was trained with is unknown; choose its student and its knowledge"

    def _remove_adapter(self, adapter: str, student: str, values: Mapping[str, str]) -> tuple[dict[str, str], str]:
        """Return what changes where an adapter does not fit the new student."""
        settings = self._options.as_trained.get(adapter)
        trained = {} if settings is None else self._values_of(settings)
        if not adapter or not student or student == trained.get("student") or student == trained.get("other"):
            return {}, ""
        if why_no_adapter(student) is None:
            origin = f"{adapter} was trained on {settings.student}; " if settings is not None else ""
            return {}, f"{origin}whether {student} fits is checked when it is loaded"
        # The knowledge that the adapter was trained with goes too; what the user has chosen stays.
        trained_knowledge = {name: "" for name in _TRAINED[2:] if trained.get(name) and values[name] == trained[name]}
        removed = "the adapters are" if adapter == _SEVERAL else f"adapter {adapter} is"
        return {"adapter": "", **trained_knowledge}, f"{student} takes no adapter of yours: {removed} removed"

    def _values_of(self, settings: RunSettings) -> dict[str, str]:
        """Return settings as the values of the fields."""
        scale = settings.adapters[0][1] if len(settings.adapters) == 1 else 1.0
        several = len(settings.adapters) > 1
        return {
            **self._name_of(settings.student),
            "adapter": _SEVERAL if several else settings.adapters[0][0] if settings.adapters else "",
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

    def _name_of(self, student: str) -> dict[str, str]:
        is_offered = student in self._options.students
        return {"student": student if is_offered else _OTHER, "other": "" if is_offered else student}

    def _adapter_choices(self) -> list[tuple[str, str]]:
        adapters = self._choice.settings.adapters
        choices = [("none beyond its own", "")]
        choices += [(f"{name}, trained on {Path(student).stem}", name) for name, student in self._options.adapters]
        if len(adapters) > 1:
            choices.append((" and ".join(f"{name} x {scale:g}" for name, scale in adapters), _SEVERAL))
        elif adapters and adapters[0][0] not in dict(self._options.adapters):
            choices.append((adapters[0][0], adapters[0][0]))
        return choices

    def _adapters_in(self, values: Mapping[str, str]) -> tuple[tuple[str, float], ...] | None:
        """Return the adapters with their scales; None for no adapter.

        Raises:
            KdtuiError: the scale is not a number.
        """
        adapter = values["adapter"]
        if not adapter:
            return None
        if adapter == _SEVERAL:
            return self._choice.settings.adapters
        return ((adapter, _scale(values["scale"])),)


def intent_writer_in(options: StudentOptions, values: Mapping[str, str]) -> str | None:
    """Return the adapter in the fields, if it writes only intents and the student takes adapters."""
    adapter = values["adapter"]
    takes_adapters = why_no_adapter(_student_in(values)) is None
    return adapter if adapter in options.intent_writers and takes_adapters else None


def _follow_student(values: Mapping[str, str], *, is_typed: bool) -> dict[str, str]:
    """Return what keeps the choice of the student and the typed name consistent."""
    if not is_typed:
        return {} if values["student"] == _OTHER else {"other": ""}
    return {"student": _OTHER} if values["other"].strip() else {}


def _student_in(values: Mapping[str, str]) -> str:
    return values["other"].strip() or values["student"]


def _has_knowledge(values: Mapping[str, str]) -> bool:
    return any(values[name].strip() for name in _KNOWLEDGE)


def _text(number: int | None) -> str:
    return "" if number is None else str(number)


def _scale(text: str) -> float:
    if not text.strip():
        return 1.0
    try:
        return float(text)
    except ValueError as error:
        raise KdtuiError("the scale of an adapter is a number such as 0.5") from error
