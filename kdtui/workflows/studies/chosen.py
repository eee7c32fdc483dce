"""The study that a user names: a preset, a TOML file or one that is stored, with what they change of it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from kdtui.errors import KdtuiError
from kdtui.workflows.studies.spec import PRESETS, Spec, changed, parsed, preset, read_spec
from store.similar import meant
from store.sqlite import Database
from store.studies import list_studies


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
        raise KdtuiError(f"there is no study {source!r}; {meant(source, names, there_are)}")
    if training_sessions is not None:
        changes["training"] = replace(spec.training, sessions=training_sessions)
    return changed(spec, source, dataset=named or None, **changes)
