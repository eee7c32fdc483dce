"""Export an adapter to a folder that PEFT, llama.cpp, vLLM and kdtui can load."""

import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdtui.errors import BadFile, KdtuiError
from kdtui.exchange.adapter_card import CARD, AdapterFacts, adapter_card
from kdtui.text import counted
from kdtui.workflows.adapters.local_adapters import (
    LocalAdapter,
    base_config_of,
    local_adapter,
    public_base,
    without_paths,
)
from kdtui.workflows.knowledge.sample_summary import draws_in_words
from kdtui.workflows.manage_models import is_repository, known_models, slug
from kdtui.workflows.model_names import is_file
from kdtui.workflows.runs.evaluate import answered_by
from kdtui.workflows.runs.published import fingerprint
from kdtui.workflows.runs.session_measures import measures_of
from kdtui.workflows.runs.session_selection import SessionSelection
from models.adapters.conversion import convert
from models.adapters.folder import SUMS, has_patterns, plain_config, write_adapter, write_json
from models.adapters.peft_settings import BASE_CONFIG, CONFIG, MANIFEST, WEIGHTS
from models.embedded import SHIPPED
from models.errors import ModelError
from models.files.hashing import file_sha256
from models.files.json_files import read_object
from models.files.whole_files import new_folder, write_whole
from models.sft.job import read_job
from models.sft.job_files import JOB
from store.datasets import list_datasets
from store.errors import NotFound
from store.jobs import get_job
from store.models import named_since
from store.runs import RunSummary, list_runs
from store.samples import get_sample
from store.sessions import iter_sessions

if TYPE_CHECKING:
    from store.sqlite import Database

KIND = "adapter"
"""The kind of an exported folder in its manifest."""

_MEASURES = ("pair_f1", "strict_precision", "strict_recall")


@dataclass(frozen=True, slots=True)
class Exported:
    """An adapter that was exported to a folder.

    Attributes:
        files: their names.
        base: the name of the base in the export.
        is_on_hub: whether that is the id of a repository, which programs can fetch.
    """

    name: str
    folder: Path
    files: tuple[str, ...]
    base: str
    is_on_hub: bool

    @property
    def in_words(self) -> str:
        """What was done, as a sentence without a full stop."""
        return f"exported {self.name} to {self.folder}: {counted(len(self.files), 'file')}, for the base {self.base}"

    @property
    def note(self) -> str | None:
        """What prevents others from using it, and what to do; None if nothing does."""
        if self.is_on_hub:
            return None
        return (
            f"{self.base} is not the id of a hub model, so others have to find the base themselves; name it with --base"
        )


def export_adapter(
    db: "Database",
    adapter: str,
    folder: Path,
    *,
    licence: str | None = None,
    base: str | None = None,
    replace: bool = False,
) -> Exported:
    """Write an adapter into a folder for PEFT and llama.cpp, with a card; completely or not at all.

    Nothing in it names a folder of this machine.

    Args:
        adapter: its name, or its GGUF file.
        base: the hub id of the base; None for the known one, or its name.
        replace: replace an earlier export in the folder.

    Raises:
        KdtuiError: there is no such adapter, it is not an adapter, or the folder cannot be written.
        ModelError: the files of the adapter cannot be read, or it is not a plain LoRA.
    """
    _check_kind(db, adapter)
    target = check_target(folder, replace=replace)
    if base is not None and not is_repository(base):
        raise KdtuiError(f"{base!r} is not the id of a hub model; it looks like OWNER/NAME")
    source = local_adapter(db, adapter)
    config = {} if source.folder is None else read_object(source.folder / CONFIG)
    public = base or public_base(db, source.manifest, config)
    manifest = _manifest(db, adapter, source, public)
    name = slug(source.name)
    try:
        with new_folder(target, replace=replace) as part:
            rank = _write_weights(source, config, public, part)
            write_json(part / BASE_CONFIG, base_config_of(source))
            write_json(part / MANIFEST, manifest)
            convert(part, part, part / f"{name}.gguf")
            card = adapter_card(AdapterFacts(name, public, manifest, rank, licence))
            write_whole(part / CARD, card)
            names = sorted(path.name for path in part.iterdir())
            write_whole(part / SUMS, "".join(f"{file_sha256(part / each)}  {each}\n" for each in names))
    except OSError as error:
        raise BadFile(folder, f"{error.strerror}; nothing was written") from error
    return Exported(name, folder, (*names, SUMS), public, is_repository(public))


def check_target(folder: Path, *, replace: bool) -> Path:
    """Return the folder of an export, if it can be written.

    Raises:
        BadFile: it holds something else.
    """
    target = folder.resolve()
    if target.exists() and not target.is_dir():
        raise BadFile(folder, "this is not a folder; name a folder to write the files into")
    try:
        files = sorted(path.name for path in target.iterdir()) if target.exists() else []
        listed = (target / SUMS).read_text("utf-8", "replace") if SUMS in files else ""
    except OSError as error:
        raise BadFile(folder, str(error.strerror)) from error
    if files and not replace:
        raise BadFile(folder, "it exists already; choose another folder, or replace it with --replace")
    if files and not {SUMS, CONFIG, MANIFEST} <= {*files}:
        raise BadFile(folder, f"it holds {files[0]!r}, and not an exported adapter; choose another folder")
    others = sorted({*files} - {SUMS, *(line.partition("  ")[2] for line in listed.splitlines())})
    if others:
        raise BadFile(folder, f"next to an adapter it holds {others[0]!r}, which would be lost; choose another folder")
    return target


def _check_kind(db: "Database", adapter: str) -> None:
    """Refuse models that are not adapters, and say what to do instead."""
    row = None if is_file(adapter) else next((row for row in known_models(db) if row.name == adapter), None)
    if row is not None and row.kind != "adapter":
        what = "a base" if row.kind == "base" else "a sentence encoder"
        raise KdtuiError(
            f"{adapter} is {what}, and only adapters are exported; its file is complete and can be given to "
            f"others as it is: {row.path}"
        )


def _write_weights(source: LocalAdapter, config: Mapping[str, Any], base: str, part: Path) -> int:
    """Write the weights and the configuration for PEFT, and return the rank."""
    if source.folder is None or has_patterns(config):
        return write_adapter(part, source.deltas(), source.known_shape(), base)
    shutil.copyfile(source.folder / WEIGHTS, part / WEIGHTS)
    write_json(part / CONFIG, plain_config(config, base))
    return source.info.rank


def _manifest(db: "Database", adapter: str, source: LocalAdapter, base: str) -> dict[str, Any]:
    """Return what the adapter says itself, and what is known here about its training and its scores."""
    manifest = {**source.manifest, "kind": KIND, "name": source.name, "base": base}
    since = None if is_file(adapter) else named_since(db, adapter)
    # An adapter from elsewhere describes its training data itself, and so does a merge with one.
    if "data" not in manifest and since is not None:
        manifest |= _training(db, adapter, manifest, since)
    if scores := [_score(db, summary) for summary in _validations(db, adapter, since)]:
        manifest["scores"] = scores
    found: dict[str, Any] = without_paths(manifest)
    return found


def _training(db: "Database", adapter: str, manifest: Mapping[str, Any], since: str) -> dict[str, Any]:
    """Return the data and the settings of a local training, as far as they have not changed since."""
    current = {each.name: each for each in list_datasets(db) if each.created_at <= since}
    names = [name for name in manifest.get("datasets") or () if name in current]
    facts: dict[str, Any] = {
        "data": {
            name: {"sessions": current[name].train, "sha256": fingerprint(iter_sessions(db, name, split="train"))}
            for name in names
        }
    }
    if isinstance(sample := manifest.get("sample"), str):
        with suppress(NotFound):
            facts["sample_drawn"] = draws_in_words(get_sample(db, sample))
    with suppress(NotFound, ModelError):
        job = read_job(get_job(db, adapter).folder / JOB)
        kept = ("batch_tokens", "longest", "precision")
        facts["settings"] = {
            **{name: value for name, value in asdict(job).items() if name in kept},
            "lora": asdict(job.lora),
            "optimizer": asdict(job.optimizer),
        }
    return facts


def _validations(db: "Database", adapter: str, since: str | None) -> list[RunSummary]:
    """Return the latest complete run over validation sessions of each dataset with only this adapter, at scale 1."""
    latest: dict[str, RunSummary] = {}
    for summary in list_runs(db):
        run = summary.run
        is_alone = run.settings.adapters == ((adapter, 1.0),) or (adapter == run.settings.student == SHIPPED)
        # Another adapter can have had the name before.
        if run.split == "valid" and is_alone and summary.is_over and (since is None or run.created_at >= since):
            latest[run.dataset] = summary
    return list(latest.values())


def _score(db: "Database", summary: RunSummary) -> dict[str, Any]:
    """Return the scores of a run: each measure with its 95 % confidence interval."""
    # Imported here: scipy takes a while.
    from kdtui.statistics.estimates import estimate_cells
    from kdtui.statistics.sessions import CellValues

    sessions = SessionSelection.by(summary).sessions(db)
    measured = [measures_of(*each, names_intents=False) for each in answered_by(db, summary.run, sessions)]
    scores = {}
    for measure in _MEASURES:
        [value] = estimate_cells([CellValues.of([each[measure] for each in measured])], within=(0, 1))
        scores[measure] = [round(number, 4) for number in (value.mean, value.low, value.high)]
    return {"dataset": summary.run.dataset, "n": len(measured), "student": summary.run.name, **scores}
