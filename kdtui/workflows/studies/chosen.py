"""The study that a user names: a preset, a TOML file or one that is stored, with what they change of it.

It may have the name of one that is stored already: the same study that is resumed or extended, or another one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from kdtui.errors import KdtuiError
from kdtui.text import counted
from kdtui.workflows.studies.grid import grids
from kdtui.workflows.studies.spec import PRESETS, Spec, changed, parsed, preset, read_spec
from kdtui.workflows.studies.steps import EvaluationStep
from store.similar import suggestion
from store.sqlite import Database
from store.studies import list_studies

_ENOUGH = 1_000_000
"""Validation sessions with which students are calibrated and routed."""


def chosen_spec(
    db: Database,
    source: str,
    datasets: Sequence[str] | None = None,
    *,
    training_sessions: int | None = None,
    **changes: Any,
) -> Spec:
    """The study that a source stands for.

    Args:
        source: a preset, the name of a stored study, or the path of a TOML file.
        datasets: whose sessions are answered; None for those that the study names. A preset names none.
        training_sessions: so many of each dataset are trained on; None for those that the study says.
        changes: other values of fields of the spec or its questions, as `changed` takes them.

    Raises:
        KdtuiError: there is no such study, or it does not describe one.
    """
    named = tuple(datasets or ())
    stored = {study.name: study.spec for study in list_studies(db)}
    if source in PRESETS:
        spec = preset(source, named)
    elif source in stored:
        spec = parsed(stored[source], f"study {source}")
    elif source.endswith(".toml") or Path(source).is_file():
        spec = read_spec(Path(source), named)
    else:
        names = (*PRESETS, *stored)
        there_are = f"there are: {', '.join(names)}, and files ending in .toml"
        raise KdtuiError(f"there is no study {source!r}; {suggestion(source, names, there_are)}")
    if training_sessions is not None:
        changes["training"] = replace(spec.training, sessions=training_sessions)
    return changed(spec, source, dataset=named or None, **changes)


@dataclass(frozen=True, slots=True)
class EarlierStudy:
    """A stored study of the same name, which a new one takes the place of.

    Attributes:
        source: the preset or the file that it came from.
        cells: how many it has; 0 where it cannot be read any more.
        dropped: how many of them the new one has not.
    """

    name: str
    source: str
    cells: int
    dropped: int

    @property
    def is_another(self) -> bool:
        """Whether the new one has no cell in common with it."""
        return self.dropped == self.cells

    @property
    def in_words(self) -> str:
        """What becomes of it, as a sentence without a full stop; empty where it is resumed or extended."""
        if not self.cells:
            return f"study {self.name}, from {self.source}, cannot be read by this version"
        if self.is_another:
            return f"study {self.name} is another one, from {self.source}, and has no cell in common with this"
        if not self.dropped:
            return ""
        cells = f"{self.dropped:,} of {counted(self.cells, 'cell')}"
        return f"study {self.name} had more to it: {cells} are no part of it any more, and their runs stay"


def earlier_study(db: Database, spec: Spec) -> EarlierStudy | None:
    """The stored study whose place a study takes by its name; None where there is none."""
    stored = next((study for study in list_studies(db) if study.name == spec.name), None)
    if stored is None:
        return None
    try:
        before = _cells(parsed(stored.spec, f"study {spec.name}"))
    except KdtuiError:
        # Another version has written it, or somebody has edited it.
        return EarlierStudy(spec.name, stored.source, 0, 0)
    return EarlierStudy(spec.name, stored.source, len(before), len(before - _cells(spec)))


def _cells(spec: Spec) -> set[EvaluationStep]:
    # How many validation sessions there are depends on the store, and is no difference between studies.
    validation = dict.fromkeys(spec.datasets(), _ENOUGH)
    return {arm.cell for grid in grids(spec, validation) for arm in grid.arms}
