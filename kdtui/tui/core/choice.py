"""Which student is asked, with what knowledge, and how."""

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec.structs import replace

from kdtui.errors import KdtuiError
from kdtui.workflows.model_names import PATTERNS
from kdtui.workflows.student.command_options import options_of
from kdtui.workflows.student.settings import check_settings, student_name
from models.embedded import SHIPPED
from store.records import RunSettings

_USUAL = RunSettings(SHIPPED)


@dataclass(frozen=True, slots=True)
class StudentChoice:
    """The settings of whom to ask in the workbench; those that are None are the usual ones."""

    settings: RunSettings = _USUAL

    @classmethod
    def of(cls, settings: RunSettings | None) -> "StudentChoice":
        """The choice that these settings make; the usual student for None."""
        return cls() if settings is None else cls(replace(settings, limit=None, seed=None))

    @classmethod
    def from_memory(cls, value: object) -> "StudentChoice | None":
        """What `to_memory` has given, if it still is that: anyone may have edited it."""
        with suppress(msgspec.ValidationError, KdtuiError):
            choice = cls.of(msgspec.convert(value, RunSettings))
            # Those that need a dataset will have one.
            check_settings(choice.settings, "a dataset")
            return choice
        return None

    def to_memory(self) -> dict[str, Any]:
        """Plain values to be remembered."""
        found: dict[str, Any] = msgspec.to_builtins(self.settings)
        return found

    @property
    def name(self) -> str:
        """What to call the student on the screen."""
        return student_name(self.settings)

    @property
    def in_words(self) -> str:
        """The name, and what else differs from the usual."""
        settings = self.settings
        others = [
            (settings.neighbours, "neighbours"),
            (settings.budget, "tokens of knowledge"),
            (settings.context, "tokens of context"),
        ]
        return " · ".join([self.name, *(f"{number:,} {what}" for number, what in others if number is not None)])

    @property
    def options(self) -> dict[str, list[str]]:
        """The options of `kdtui generate` that make this choice; those have no values whose default says the same."""
        return options_of(self.settings)

    @property
    def options_in_full(self) -> dict[str, list[str]]:
        """The same where the dataset has a default adapter, so that the shipped student has to be named."""
        return options_of(self.settings, names_shipped=True)

    def with_student(self, student: str, adapters: tuple[tuple[str, float], ...] = ()) -> "StudentChoice":
        """The same with another student; what it cannot use is left out."""
        wanted = replace(self.settings, student=student, adapters=adapters)
        unaided = replace(wanted, knowledge=(), sample=None, neighbours=None, budget=None, near=None)
        unaided = replace(unaided, domains="own", strategy=None)
        if student == PATTERNS:
            unaided = replace(unaided, context=None)
        for settings in (wanted, replace(wanted, strategy=None), replace(wanted, strategy=None, context=None), unaided):
            with suppress(KdtuiError):
                check_settings(settings, "a dataset")
                return StudentChoice(settings)
        return StudentChoice(RunSettings(student, adapters=adapters))

    def with_format(self, format: str) -> "StudentChoice":
        """The same with a format of knowledge, or without it where it was in."""
        before = self.settings.knowledge
        knowledge = tuple(each for each in before if each != format) if format in before else (*before, format)
        settings = replace(self.settings, knowledge=knowledge)
        if not knowledge:
            # They are about knowledge.
            settings = replace(settings, sample=None, domains="own", neighbours=None, budget=None, near=None)
        return StudentChoice(settings)
