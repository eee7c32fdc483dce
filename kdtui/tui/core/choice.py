"""The choice of a student with its settings."""

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
    """The student that the workbench asks, with its settings; None in a setting stands for the default."""

    settings: RunSettings = _USUAL

    @classmethod
    def of(cls, settings: RunSettings | None) -> "StudentChoice":
        """Return the choice with these settings; the usual student for None."""
        return cls() if settings is None else cls(replace(settings, limit=None, seed=None))

    @classmethod
    def from_memory(cls, value: object) -> "StudentChoice | None":
        """Read what `to_memory` returned; None if the user has edited it into something else."""
        with suppress(msgspec.ValidationError, KdtuiError):
            choice = cls.of(msgspec.convert(value, RunSettings))
            # Settings that need a dataset get one later.
            check_settings(choice.settings, "a dataset")
            return choice
        return None

    def to_memory(self) -> dict[str, Any]:
        """Return plain values for the memory."""
        values: dict[str, Any] = msgspec.to_builtins(self.settings)
        return values

    @property
    def name(self) -> str:
        """The name of the student on the screen."""
        return student_name(self.settings)

    @property
    def in_words(self) -> str:
        """The name, and the settings that differ from the default."""
        settings = self.settings
        numbers = [
            (settings.neighbours, "neighbours"),
            (settings.budget, "tokens of knowledge"),
            (settings.context, "tokens of context"),
        ]
        return " · ".join([self.name, *(f"{number:,} {what}" for number, what in numbers if number is not None)])

    @property
    def options(self) -> dict[str, list[str]]:
        """The options of `kdtui generate` for this choice; an option at its default has no values."""
        return options_of(self.settings)

    @property
    def options_in_full(self) -> dict[str, list[str]]:
        """The options where the dataset has a default adapter, so that the shipped student has to be named."""
        return options_of(self.settings, names_shipped=True)

    def with_student(self, student: str, adapters: tuple[tuple[str, float], ...] = ()) -> "StudentChoice":
        """Return the choice with another student, without the settings that it cannot use."""
        same = replace(self.settings, student=student, adapters=adapters)
        unaided = replace(same, knowledge=(), sample=None, neighbours=None, budget=None, near=None)
        unaided = replace(unaided, domains="own", strategy=None)
        if student == PATTERNS:
            unaided = replace(unaided, context=None)
        for settings in (same, replace(same, strategy=None), replace(same, strategy=None, context=None), unaided):
            with suppress(KdtuiError):
                check_settings(settings, "a dataset")
                return StudentChoice(settings)
        return StudentChoice(RunSettings(student, adapters=adapters))

    def with_format(self, format: str) -> "StudentChoice":
        """Return the choice with a format of knowledge added, or removed if it was in."""
        before = self.settings.knowledge
        knowledge = tuple(each for each in before if each != format) if format in before else (*before, format)
        settings = replace(self.settings, knowledge=knowledge)
        if not knowledge:
            # These settings are about knowledge.
            settings = replace(settings, sample=None, domains="own", neighbours=None, budget=None, near=None)
        return StudentChoice(settings)
