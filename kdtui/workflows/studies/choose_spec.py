"""The study that a user chooses: a preset, a TOML file or a stored study, with the user's changes.

A stored study can have the same name already. Then it is resumed or extended, or replaced by another one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from kdtui.errors import KdtuiError
from kdtui.text import counted
from kdtui.workflows.studies.grid import grids
from kdtui.workflows.studies.spec import PRESETS, Spec
from kdtui.workflows.studies.spec_files import changed_spec, load_preset, parsed_spec, read_spec
from kdtui.workflows.studies.steps import EvaluationStep
from store.similar import suggestion
from store.sqlite import Database
from store.studies import list_studies

_ENOUGH = 1_000_000
"""A number of validation sessions that always suffices to calibrate and route students."""


def chosen_spec(
    db: Database,
    source: str,
    datasets: Sequence[str] | None = None,
    *,
    training_sessions: int | None = None,
    **changes: Any,
) -> Spec:
    """Return the spec of a study.

    Args:
        source: a preset, the name of a stored study, or the path of a TOML file.
        datasets: whose sessions are answered; None for those of the study. A preset has none.
        training_sessions: of each dataset; None for the number in the study.
        changes: new values for fields of the spec or its questions, as `changed_spec` takes them.

    Raises:
        KdtuiError: there is no such study, or the source does not describe one.
    """
    named = tuple(datasets or ())
    stored = {study.name: study.spec for study in list_studies(db)}
    if source in PRESETS:
        spec = load_preset(source, named)
    elif source in stored:
        spec = parsed_spec(stored[source], f"study {source}")
    elif source.endswith(".toml") or Path(source).is_file():
        spec = read_spec(Path(source), named)
    else:
        names = (*PRESETS, *stored)
        there_are = f"there are: {', '.join(names)}, and files ending in .toml"
        raise KdtuiError(f"there is no study {source!r}; {suggestion(source, names, there_are)}")
    if training_sessions is not None:
        changes["training"] = replace(spec.training, sessions=training_sessions)
    return changed_spec(spec, source, dataset=named or None, **changes)


@dataclass(frozen=True, slots=True)
class EarlierStudy:
    """A stored study that a new one replaces by its name.

    Attributes:
        source: the preset or the file that it came from.
        cells: how many it has; 0 if it cannot be read.
        dropped: how many of its cells the new study lacks.
    """

    name: str
    source: str
    cells: int
    dropped: int

    @property
    def is_another(self) -> bool:
        """Whether the two studies have no cell in common."""
        return self.dropped == self.cells

    @property
    def in_words(self) -> str:
        """What happens to it, as a sentence without a full stop; empty if it is resumed or extended."""
        if not self.cells:
            return f"study {self.name}, from {self.source}, cannot be read by this version"
        if self.is_another:
            return f"study {self.name} is another one, from {self.source}, and has no cell in common with this"
        if not self.dropped:
            return ""
        cells = f"{self.dropped:,} of {counted(self.cells, 'cell')}"
        return f"study {self.name} had more cells: {cells} are no longer part of it, and their runs are kept"


def earlier_study(db: Database, spec: Spec) -> EarlierStudy | None:
    """Return the stored study with the name of a study; None if there is none."""
    stored = next((study for study in list_studies(db) if study.name == spec.name), None)
    if stored is None:
        return None
    try:
        before = _cells(parsed_spec(stored.spec, f"study {spec.name}"))
    except KdtuiError:
        # Another version wrote it, or somebody edited it.
        return EarlierStudy(spec.name, stored.source, 0, 0)
    return EarlierStudy(spec.name, stored.source, len(before), len(before - _cells(spec)))


def _cells(spec: Spec) -> set[EvaluationStep]:
    # The number of validation sessions depends on the store. It is not a difference between studies.
    validation = dict.fromkeys(spec.datasets(), _ENOUGH)
    return {arm.cell for grid in grids(spec, validation) for arm in grid.arms}
