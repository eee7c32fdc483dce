"""The demo: two shipped datasets of invented products, and their knowledge."""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import as_file, files

from kdtui.text import counted
from kdtui.workflows.data.import_dataset import import_dataset
from kdtui.workflows.knowledge.distill import DISTILLED, distill_annotations
from kdtui.workflows.knowledge.mine_patterns import mine_patterns
from kdtui.workflows.studies.spec_files import parsed_spec, to_toml
from store.datasets import dataset_names
from store.knowledge import known_formats
from store.sqlite import Database
from store.studies import save_study

DATASETS = ("demo-outdoor", "demo-kitchen")


@dataclass(frozen=True, slots=True)
class DemoStep:
    """A part of the demo is done; the sentence says which."""

    sentence: str


def import_demo(db: Database) -> Iterator[DemoStep]:
    """Import the demo datasets, then mine and distil their knowledge. Existing parts stay as they are.

    Each step is stored as soon as it is done, so the next call completes an interrupted one.
    """
    for dataset in DATASETS:
        if dataset in dataset_names(db):
            yield DemoStep(f"dataset {dataset} exists already")
        else:
            with as_file(files("kdtui") / "demo_data" / f"{dataset.removeprefix('demo-')}.jsonl") as path:
                *_, written = import_dataset(db, path, dataset)
            sessions = counted(written.sessions, "session")
            yield DemoStep(f"imported {sessions} of invented products as dataset {dataset}")
        known = known_formats(db, dataset)
        if "pattern" not in known:
            yield DemoStep(f"mined {counted(mine_patterns(db, dataset).kept, 'pattern')} of dataset {dataset}")
        for event in distill_annotations(db, dataset, [format for format in DISTILLED if format not in known]):
            kept = counted(event.kept, event.format)
            yield DemoStep(f"composed {kept} from what people bundled, and rejected {event.rejected}")


def save_demo_study(db: Database) -> str:
    """Store the small study of the demo, and return its name."""
    text = (files("kdtui") / "demo_data" / "study.toml").read_text(encoding="utf-8")
    spec = parsed_spec(text, "the study of the demo")
    save_study(db, spec.name, to_toml(spec), "demo")
    return spec.name
