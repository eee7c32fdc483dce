"""The adapters that a training can begin from, and what such a training takes over from them."""

import shutil
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

from platformdirs import user_cache_path

from kdtui.errors import KdtuiError
from kdtui.workflows.job_state import JobRow, base_of, is_to_fetch, known_status
from kdtui.workflows.model_names import trainable
from kdtui.workflows.student.manifest import training_of
from models.adapters.peft_settings import CONFIG, MANIFEST
from models.embedded import NAME, SHIPPED, SHIPPED_FOLDER, embedded_student
from models.errors import ModelError
from models.files.json_files import read_object
from models.sft.job import Start, read_job
from models.sft.job_files import ADAPTER, JOB, START
from models.sft.start import copy_start, start_config
from store.jobs import list_jobs
from store.models import named_models
from store.records import TrainingSettings
from store.sessions import split_size
from store.similar import suggestion
from store.sqlite import Database

Form: TypeAlias = Literal["list", "pairs", "intents"]

FEW = 200
"""Training sessions from which a training from the base alone learns little; see docs/student.md."""

IN_WORDS: dict[Form, str] = {
    "pairs": "to answer about pairs",
    "list": "to write lists of bundles",
    "intents": "to write the intents of bundles",
}
"""What adapters of each form were trained for."""


@dataclass(frozen=True, slots=True)
class StartAdapter:
    """An adapter that a training can begin from.

    Attributes:
        path: a folder of PEFT, or a GGUF file.
        config: its settings, as PEFT has them; of a GGUF file those that its header tells.
        manifest: what it says of its own training; empty where it was made elsewhere.
        base: what it was trained on, as a base is named; None where that is not known.
    """

    name: str
    path: Path
    config: Mapping[str, Any]
    manifest: Mapping[str, Any]
    base: str | None

    @property
    def trained(self) -> TrainingSettings | None:
        """What its training was made of; None where it was made elsewhere."""
        return training_of(self.manifest)

    @property
    def rank(self) -> int:
        """Of its matrices."""
        return int(self.config["r"])

    @property
    def alpha(self) -> float:
        """How strongly it acts, over its rank."""
        return float(self.config.get("lora_alpha") or 1)

    def copy_to(self, job: Path, base: str) -> Start:
        """Copy it into the directory of a training.

        Args:
            base: of the training, as a job names it.

        Raises:
            KdtuiError: it is a GGUF file, and the base that says the order of its weights is not here.
            ModelError: it cannot be read, or is none for this base.
            OSError: it cannot be written.
        """
        if self.path.is_dir():
            return Start(self.name, copy_start(self.path, job))
        from models.adapters.peft_from_gguf import write_peft

        if not Path(base).exists():
            raise KdtuiError(
                f"adapter {self.name!r} is a GGUF file, and a training continues it where {base} is a file"
            )
        part = job / f"{START}.part"
        part.mkdir()
        try:
            write_peft(self.path, Path(base), part)
            return Start(self.name, copy_start(part, job))
        finally:
            shutil.rmtree(part, ignore_errors=True)


def find_source(db: Database, named: str) -> StartAdapter:
    """The adapter of this name: the shipped one, that of a training that is done, one that was added, or a folder of
    PEFT or a GGUF file.

    Raises:
        KdtuiError: there is no such adapter, or its training has not ended well, or it is on a host still.
        ModelError: a file of it is missing or damaged, or no training can continue it.
    """
    if named == SHIPPED:
        return _of_folder(SHIPPED, SHIPPED_FOLDER, NAME)
    jobs = {job.name: job for job in list_jobs(db)}
    if named in jobs:
        # It need not be made ready for use: its files are those of PEFT.
        row = JobRow(jobs[named], known_status(jobs[named]))
        if row.status.state != "done":
            why = f" ({row.status.reason})" if row.status.reason else ""
            raise KdtuiError(f"training {named!r} has no adapter to begin from yet; it is {row.status.state}{why}")
        if is_to_fetch(row):
            raise KdtuiError(
                f"the adapter of {named!r} is on host {row.job.host}; bring it home: kdtui sft fetch {named}"
            )
        base = base_of(row.job) or read_job(row.job.folder / JOB).base
        return _of_folder(named, row.job.folder / ADAPTER, base)
    known = {model.name: model.path for model in named_models(db) if model.kind == "adapter"}
    path = known.get(named, Path(named))
    if path.is_dir():
        inner = path / ADAPTER
        folder = inner if not (path / CONFIG).exists() and inner.is_dir() else path
        return _of_folder(named if named in known else str(folder.resolve()), folder, None)
    if path.suffix == ".gguf":
        return _of_file(named if named in known else str(path.resolve()), path)
    names = [SHIPPED, *jobs, *known]
    there_are = f"there are: {', '.join(dict.fromkeys(names))}, folders of PEFT, and files ending in .gguf"
    raise KdtuiError(f"there is no adapter {named!r} to begin from; {suggestion(named, names, there_are)}")


def _of_folder(name: str, folder: Path, base: str | None) -> StartAdapter:
    config = start_config(folder)
    manifest = read_object(folder / MANIFEST) if (folder / MANIFEST).exists() else {}
    return StartAdapter(name, folder, config, manifest, base or _trained_on(manifest))


def _of_file(name: str, path: Path) -> StartAdapter:
    from models.adapters.peft_from_gguf import peft_config
    from models.adapters.provenance import adapter_manifest

    if not path.is_file():
        raise KdtuiError(f"{path}: there is no such file")
    manifest = adapter_manifest(path)
    return StartAdapter(
        name, path, {**peft_config(path), "target_modules": ["all that it changes"]}, manifest, _trained_on(manifest)
    )


def _trained_on(manifest: Mapping[str, Any]) -> str | None:
    """The base that a manifest tells, if it can be found here."""
    base = manifest.get("base")
    if not isinstance(base, str):
        return None
    with suppress(ModelError):
        if Path(base).name == embedded_student().name:
            return NAME
    return base if Path(base).exists() else None


@dataclass(frozen=True, slots=True)
class Terms:
    """What a training is to be, as far as somebody says it; None where nothing is said."""

    form: Form | None = None
    knowledge: tuple[str, ...] | None = None
    target: bool | None = None
    base: str | None = None
    rank: int | None = None
    alpha: float | None = None


def taken_over(source: StartAdapter, said: Terms) -> Terms:
    """The terms of a training that begins from an adapter: what nobody says is as the adapter was trained.

    Raises:
        KdtuiError: what is said contradicts the adapter.
    """
    name, trained = source.name, source.trained
    form = said.form or (trained.form if trained is not None else "pairs")
    if trained is not None and form != trained.form:
        raise KdtuiError(
            f"adapter {name!r} was trained {IN_WORDS[trained.form]}, and not {IN_WORDS[form]}; use --form "
            f"{trained.form}, or leave it out"
        )
    target = said.target if said.target is not None else trained is not None and trained.target
    if trained is not None and target != trained.target:
        learned = "to write a thought before its list" if trained.target else "without writing thoughts"
        raise KdtuiError(f"adapter {name!r} was trained {learned}; leave out --as")
    if said.rank not in (None, source.rank):
        raise KdtuiError(
            f"adapter {name!r} has rank {source.rank}, and a training from it keeps that; leave out --rank"
        )
    if said.alpha not in (None, source.alpha):
        raise KdtuiError(
            f"adapter {name!r} has alpha {source.alpha:g}, and a training from it keeps that; leave out --alpha"
        )
    knowledge = said.knowledge
    if knowledge is None:
        knowledge = trained.knowledge if trained is not None else ()
    return replace(said, form=form, knowledge=knowledge, target=target, base=said.base or source.base or NAME)


def what_changes(source: StartAdapter, settings: TrainingSettings) -> str | None:
    """What a training shows its student that the adapter was not trained with, as a sentence; None where it is the
    same, or not known."""
    trained = source.trained
    if trained is None or set(trained.knowledge) == set(settings.knowledge):
        return None

    def shown(knowledge: tuple[str, ...]) -> str:
        return ", ".join(f"{each}s" for each in knowledge) or "no knowledge"

    before, now = shown(trained.knowledge), shown(settings.knowledge)
    return f"adapter {source.name} was trained with {before}; this training has {now}"


def check_fits(db: Database, source: StartAdapter, base: str) -> None:
    """Refuse a base that an adapter was not trained on, as far as the adapter tells.

    Args:
        base: as a person names it.

    Raises:
        KdtuiError: there is no such base.
        ModelError: it says what differs, or the base cannot be loaded.
    """
    from kdtui.workflows.training.dataset import open_vocabulary
    from models.adapters.provenance import check_adapter, names_base

    place = trainable(db, base)
    if not names_base(source.manifest):
        return
    manifest = dict(source.manifest)
    if not Path(place).exists():
        # The weights of a model of the hub are where they are trained.
        manifest["norms_sha256"] = None
    with open_vocabulary(place) as vocabulary:
        check_adapter(Path(source.name), manifest, vocabulary, Path(place), user_cache_path("kdtui") / "norms")


def sources_here(db: Database) -> list[StartAdapter]:
    """The adapters that a training can begin from: the shipped one, and those of trainings that are done, the newest
    first; those that none can continue are left out."""
    found = []
    for name in (SHIPPED, *(job.name for job in list_jobs(db) if known_status(job).state == "done")):
        with suppress(KdtuiError, ModelError, OSError):
            found.append(find_source(db, name))
    return found


def proposed_source(db: Database, settings: TrainingSettings, form: Form | None, base: str | None) -> str | None:
    """The adapter that a training from the base alone had better begin from, for it has few sessions; None where it has
    enough, or no adapter fits that has learned from other datasets.

    Args:
        form: what it is asked; None where nobody says, so that any will do.
        base: None where nobody says.
    """
    if sessions_of(db, settings) > FEW:
        return None
    for source in sources_here(db):
        trained = source.trained
        if trained is None or form not in (None, trained.form) or base not in (None, source.base):
            continue
        # One that has seen these few alone knows no more than they teach.
        if not set(trained.datasets) <= set(settings.datasets):
            return source.name
    return None


def sessions_of(db: Database, settings: TrainingSettings) -> int:
    """How many training sessions a training has, before it is known which of them it can use.

    Raises:
        NotFound: there is no such dataset.
    """
    return sum(min(split_size(db, dataset, "train"), settings.limit or sys.maxsize) for dataset in settings.datasets)
