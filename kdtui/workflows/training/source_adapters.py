"""The adapters that a training can begin from, and what such a training inherits from them."""

import shutil
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

from platformdirs import user_cache_path

from kdtui.errors import KdtuiError
from kdtui.workflows.job_state import Training, base_of, is_to_fetch, known_status
from kdtui.workflows.manage_models import ModelRow
from kdtui.workflows.model_names import trainable_base
from kdtui.workflows.student.describe_model import ModelDetails, fitting_base
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
"""Up to this number of training sessions, a training from the base learns little; see docs/student.md."""

FORMS_IN_WORDS: dict[Form, str] = {
    "pairs": "to answer about pairs",
    "list": "to write lists of bundles",
    "intents": "to write the intents of bundles",
}
"""What adapters of each form were trained for."""


@dataclass(frozen=True, slots=True)
class SourceAdapter:
    """An adapter that a training can begin from.

    Attributes:
        path: a PEFT folder, or a GGUF file.
        config: its PEFT configuration; of a GGUF file, what its header says.
        manifest: what it says about its own training; empty if it was made elsewhere.
        base: the base that it was trained on, or that it fits, as a base is named; None if that is not on this machine.
    """

    name: str
    path: Path
    config: Mapping[str, Any]
    manifest: Mapping[str, Any]
    base: str | None

    @property
    def trained(self) -> TrainingSettings | None:
        """The settings of its training; None if it was made elsewhere."""
        return training_of(self.manifest)

    @property
    def rank(self) -> int:
        """The rank of its matrices."""
        return int(self.config["r"])

    @property
    def alpha(self) -> float:
        """Its scaling numerator: the adapter is scaled by alpha / rank."""
        return float(self.config.get("lora_alpha") or 1)

    def copy_to(self, job: Path, base: str) -> Start:
        """Copy it into the directory of a training.

        Args:
            base: of the training, as a job names it.

        Raises:
            KdtuiError: it is a GGUF file, and the base that determines the order of its weights is not on this machine.
            ModelError: it cannot be read, or does not fit this base.
            OSError: it cannot be written.
        """
        if self.path.is_dir():
            return Start(self.name, copy_start(self.path, job))
        from models.adapters.peft_from_gguf import write_peft

        if not Path(base).exists():
            raise KdtuiError(
                f"adapter {self.name!r} is a GGUF file; a training can continue it only if {base} is a local file"
            )
        part = job / f"{START}.part"
        part.mkdir(mode=0o700)
        try:
            write_peft(self.path, Path(base), part)
            return Start(self.name, copy_start(part, job))
        finally:
            shutil.rmtree(part, ignore_errors=True)


def find_source(db: Database, named: str) -> SourceAdapter:
    """Find the adapter of this name.

    It can be the shipped one, that of a finished training, an added one, a PEFT folder or a GGUF file.

    Raises:
        KdtuiError: there is no such adapter, its training did not end well, or it is still on a host.
        ModelError: one of its files is missing or damaged, or no training can continue it.
    """
    if named == SHIPPED:
        return _of_folder(SHIPPED, SHIPPED_FOLDER, NAME)
    jobs = {job.name: job for job in list_jobs(db)}
    if named in jobs:
        # It need not be converted: a training reads its PEFT files.
        training = Training(jobs[named], known_status(jobs[named]))
        if training.status.state != "done":
            why = f" ({training.status.reason})" if training.status.reason else ""
            raise KdtuiError(f"training {named!r} has no adapter to begin from yet; it is {training.status.state}{why}")
        if is_to_fetch(training):
            raise KdtuiError(
                f"the adapter of {named!r} is on host {training.job.host}; fetch it with: kdtui sft fetch {named}"
            )
        base = base_of(training.job) or read_job(training.job.folder / JOB).base
        return _of_folder(named, training.job.folder / ADAPTER, base)
    known = {model.name: model.path for model in named_models(db) if model.kind == "adapter"}
    path = known.get(named, Path(named))
    if path.is_dir():
        inner = path / ADAPTER
        folder = inner if not (path / CONFIG).exists() and inner.is_dir() else path
        return _of_folder(named if named in known else str(folder.resolve()), folder, None)
    if path.suffix == ".gguf":
        return _of_file(db, named if named in known else str(path.resolve()), path)
    names = [SHIPPED, *jobs, *known]
    there_are = f"there are: {', '.join(dict.fromkeys(names))}, PEFT folders, and files ending in .gguf"
    raise KdtuiError(f"there is no adapter {named!r} to begin from; {suggestion(named, names, there_are)}")


def _of_folder(name: str, folder: Path, base: str | None) -> SourceAdapter:
    config = start_config(folder)
    manifest = read_object(folder / MANIFEST) if (folder / MANIFEST).exists() else {}
    return SourceAdapter(name, folder, config, manifest, base or _trained_on(manifest))


def _of_file(db: Database, name: str, path: Path) -> SourceAdapter:
    from models.adapters.peft_from_gguf import peft_config
    from models.adapters.provenance import adapter_info

    if not path.is_file():
        raise KdtuiError(f"{path}: there is no such file")
    info = adapter_info(path)
    details = ModelDetails(ModelRow(name, path, str(path), None, None, "adapter"), {}, info)
    config = {**peft_config(path), "target_modules": ["all that it changes"]}
    return SourceAdapter(name, path, config, info.manifest, _trained_on(info.manifest) or fitting_base(db, details))


def _trained_on(manifest: Mapping[str, Any]) -> str | None:
    """Return the base that a manifest names, if it exists on this machine."""
    base = manifest.get("base")
    if not isinstance(base, str):
        return None
    with suppress(ModelError):
        if Path(base).name == embedded_student().name:
            return NAME
    return base if Path(base).exists() else None


@dataclass(frozen=True, slots=True)
class Terms:
    """The explicit choices for a training; None for those that are left open."""

    form: Form | None = None
    knowledge: tuple[str, ...] | None = None
    target: bool | None = None
    base: str | None = None
    rank: int | None = None
    alpha: float | None = None


def inherited_terms(source: SourceAdapter, given: Terms) -> Terms:
    """Fill in the open terms of a training that begins from an adapter with those of the adapter.

    Raises:
        KdtuiError: a given term contradicts the adapter.
    """
    name, trained = source.name, source.trained
    form = given.form or (trained.form if trained is not None else "pairs")
    if trained is not None and form != trained.form:
        raise KdtuiError(
            f"adapter {name!r} was trained {FORMS_IN_WORDS[trained.form]}, and not {FORMS_IN_WORDS[form]}; use --form "
            f"{trained.form}, or leave it out"
        )
    target = given.target if given.target is not None else trained is not None and trained.target
    if trained is not None and target != trained.target:
        learned = "to write a thought before its list" if trained.target else "without writing thoughts"
        raise KdtuiError(f"adapter {name!r} was trained {learned}; leave out --as")
    if given.rank not in (None, source.rank):
        raise KdtuiError(
            f"adapter {name!r} has rank {source.rank}, and a training from it keeps that; leave out --rank"
        )
    if given.alpha not in (None, source.alpha):
        raise KdtuiError(
            f"adapter {name!r} has alpha {source.alpha:g}, and a training from it keeps that; leave out --alpha"
        )
    knowledge = given.knowledge
    if knowledge is None:
        knowledge = trained.knowledge if trained is not None else ()
    return replace(given, form=form, knowledge=knowledge, target=target, base=given.base or source.base or NAME)


def what_changes(source: SourceAdapter, settings: TrainingSettings) -> str | None:
    """Say in a sentence which knowledge a training shows that its adapter was not trained with.

    Returns:
        None if the knowledge is the same, or that of the adapter is not known.
    """
    trained = source.trained
    if trained is None or set(trained.knowledge) == set(settings.knowledge):
        return None

    def shown(knowledge: tuple[str, ...]) -> str:
        return ", ".join(f"{each}s" for each in knowledge) or "no knowledge"

    before, now = shown(trained.knowledge), shown(settings.knowledge)
    return f"adapter {source.name} was trained with {before}; this training has {now}"


def check_fits(db: Database, source: SourceAdapter, base: str) -> None:
    """Refuse a base that an adapter was not trained on, as far as the adapter says.

    Args:
        base: as a user names it.

    Raises:
        KdtuiError: there is no such base.
        ModelError: the adapter is for another base, or the base cannot be loaded.
    """
    from kdtui.workflows.training.tokens import open_vocabulary
    from models.adapters.provenance import check_adapter, names_base

    path = trainable_base(db, base)
    if not names_base(source.manifest):
        return
    manifest = dict(source.manifest)
    if not Path(path).exists():
        # The weights of a hub model are on the machine that trains.
        manifest["norms_sha256"] = None
    try:
        with open_vocabulary(path) as vocabulary:
            check_adapter(Path(source.name), manifest, vocabulary, Path(path), user_cache_path("kdtui") / "norms")
    except ModelError as error:
        if source.base is None:
            raise ModelError(f"{error}; name its base with --base") from error
        raise


def local_sources(db: Database) -> list[SourceAdapter]:
    """Return the adapters on this machine that a training can continue.

    The shipped one comes first, then those of finished trainings, the newest first.
    """
    sources = []
    for name in (SHIPPED, *(job.name for job in list_jobs(db) if known_status(job).state == "done")):
        with suppress(KdtuiError, ModelError, OSError):
            sources.append(find_source(db, name))
    return sources


def proposed_source(db: Database, settings: TrainingSettings, form: Form | None, base: str | None) -> str | None:
    """Propose an adapter for a training from the base that has too few sessions.

    Args:
        form: of the training; None if any form will do.
        base: None if any base will do.

    Returns:
        None if there are enough sessions, or if no fitting adapter has learned from other datasets.
    """
    if count_training_sessions(db, settings) > FEW:
        return None
    for source in local_sources(db):
        trained = source.trained
        if trained is None or form not in (None, trained.form) or base not in (None, source.base):
            continue
        # An adapter that was trained only on these datasets has nothing to add.
        if not set(trained.datasets) <= set(settings.datasets):
            return source.name
    return None


def count_training_sessions(db: Database, settings: TrainingSettings) -> int:
    """Count the training sessions of a training, before it is known which of them are usable.

    Raises:
        NotFound: there is no such dataset.
    """
    return sum(min(split_size(db, dataset, "train"), settings.limit or sys.maxsize) for dataset in settings.datasets)
