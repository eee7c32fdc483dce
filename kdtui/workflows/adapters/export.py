"""An adapter goes out to a folder that PEFT, llama.cpp, vLLM and kdtui load as it is."""

import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdtui.errors import BadFile, KdtuiError
from kdtui.exchange.adapter_card import CARD, AdapterFacts, adapter_card
from kdtui.text import counted
from kdtui.workflows.adapters.sources import (
    AdapterSource,
    adapter_source,
    base_config_of,
    public_base,
    without_paths,
)
from kdtui.workflows.knowledge.sample_summary import how_drawn
from kdtui.workflows.manage_models import is_repository, known_models, slug
from kdtui.workflows.model_names import is_file
from kdtui.workflows.runs.evaluate import answered_by
from kdtui.workflows.runs.published import fingerprint
from kdtui.workflows.runs.scored import Scored
from kdtui.workflows.runs.session_measures import measures_of
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
"""What an exported folder holds, as its manifest says it."""

_MEASURES = ("pair_f1", "strict_precision", "strict_recall")


@dataclass(frozen=True, slots=True)
class Exported:
    """An adapter that was written to a folder.

    Attributes:
        files: their names.
        base: what the base is called there.
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
        """What keeps others from using it, and what to do; None for nothing."""
        if self.is_on_hub:
            return None
        return f"{self.base} is no id of a hub, so others have to find the base by themselves; name it with --base"


def export_adapter(
    db: "Database",
    adapter: str,
    folder: Path,
    *,
    licence: str | None = None,
    base: str | None = None,
    replace: bool = False,
) -> Exported:
    """Write an adapter into a folder: for PEFT, for llama.cpp, and with a card; whole, or not at all.

    Nothing in it names a folder of this machine.

    Args:
        adapter: its name, or its GGUF file.
        base: the id of the base on a hub; None for the one that is known, or its name.
        replace: take the place of an earlier export that is in the folder.

    Raises:
        KdtuiError: there is no such adapter, it is no adapter, or the folder cannot be written.
        ModelError: the files of the adapter cannot be read, or it is no plain LoRA.
    """
    _check_kind(db, adapter)
    target = check_target(folder, replace=replace)
    if base is not None and not is_repository(base):
        raise KdtuiError(f"{base!r} is no id of a model on a hub; it looks like OWNER/NAME")
    source = adapter_source(db, adapter)
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
    """Where an export goes, if it can.

    Raises:
        BadFile: there is something in the way.
    """
    target = folder.resolve()
    if target.exists() and not target.is_dir():
        raise BadFile(folder, "this is no folder; name one, which the files are written into")
    try:
        there = sorted(path.name for path in target.iterdir()) if target.exists() else []
        listed = (target / SUMS).read_text("utf-8", "replace") if SUMS in there else ""
    except OSError as error:
        raise BadFile(folder, str(error.strerror)) from error
    if there and not replace:
        raise BadFile(folder, "it is there already; choose another folder, or replace it with --replace")
    if there and not {SUMS, CONFIG, MANIFEST} <= {*there}:
        raise BadFile(folder, f"it holds {there[0]!r}, and no adapter that was exported; choose another folder")
    others = sorted({*there} - {SUMS, *(line.partition("  ")[2] for line in listed.splitlines())})
    if others:
        raise BadFile(folder, f"beside an adapter it holds {others[0]!r}, which would be lost; choose another folder")
    return target


def _check_kind(db: "Database", adapter: str) -> None:
    """Refuse what is no adapter, and say what to do instead."""
    row = None if is_file(adapter) else next((row for row in known_models(db) if row.name == adapter), None)
    if row is not None and row.kind != "adapter":
        what = "a base" if row.kind == "base" else "a sentence encoder"
        raise KdtuiError(
            f"{adapter} is {what}, and only adapters are exported; its file is whole by itself, and can be given to "
            f"others as it is: {row.path}"
        )


def _write_weights(source: AdapterSource, config: Mapping[str, Any], base: str, part: Path) -> int:
    """Write the weights and the configuration for PEFT, and return the rank."""
    if source.folder is None or has_patterns(config):
        return write_adapter(part, source.deltas(), source.known_shape(), base)
    shutil.copyfile(source.folder / WEIGHTS, part / WEIGHTS)
    write_json(part / CONFIG, plain_config(config, base))
    return source.info.rank


def _manifest(db: "Database", adapter: str, source: AdapterSource, base: str) -> dict[str, Any]:
    """What the adapter says itself, and what is known here of its training and its scores."""
    manifest = {**source.manifest, "kind": KIND, "name": source.name, "base": base}
    since = None if is_file(adapter) else named_since(db, adapter)
    # One that was taken in says itself what is to be known of its training, which was elsewhere.
    if "data" not in manifest and since is not None:
        manifest |= _training(db, adapter, manifest, since)
    if scores := [_score(db, summary) for summary in _validations(db, adapter, since)]:
        manifest["scores"] = scores
    found: dict[str, Any] = without_paths(manifest)
    return found


def _training(db: "Database", adapter: str, manifest: Mapping[str, Any], since: str) -> dict[str, Any]:
    """The data and the settings of a training here, as far as they are still as they were then."""
    there = {each.name: each for each in list_datasets(db) if each.created_at <= since}
    names = [name for name in manifest.get("datasets") or () if name in there]
    found: dict[str, Any] = {
        "data": {
            name: {"sessions": there[name].train, "sha256": fingerprint(iter_sessions(db, name, split="train"))}
            for name in names
        }
    }
    if isinstance(sample := manifest.get("sample"), str):
        with suppress(NotFound):
            found["sample_drawn"] = how_drawn(get_sample(db, sample))
    with suppress(NotFound, ModelError):
        job = read_job(get_job(db, adapter).folder / JOB)
        told = ("batch_tokens", "longest", "precision")
        found["settings"] = {
            **{name: value for name, value in asdict(job).items() if name in told},
            "lora": asdict(job.lora),
            "optimizer": asdict(job.optimizer),
        }
    return found


def _validations(db: "Database", adapter: str, since: str | None) -> list[RunSummary]:
    """The latest whole run over validation sessions of each dataset, with this adapter alone and in full."""
    latest: dict[str, RunSummary] = {}
    for summary in list_runs(db):
        run = summary.run
        alone = run.settings.adapters == ((adapter, 1.0),) or (adapter == run.settings.student == SHIPPED)
        # Another adapter may have had the name before.
        if run.split == "valid" and alone and summary.is_over and (since is None or run.created_at >= since):
            latest[run.dataset] = summary
    return list(latest.values())


def _score(db: "Database", summary: RunSummary) -> dict[str, Any]:
    """What a run scores: each measure with its 95 % interval."""
    # Imported here: scipy takes a while.
    from kdtui.statistics.estimates import estimate_cells
    from kdtui.statistics.sessions import Cell

    sessions = Scored.by(summary).sessions(db)
    found = [measures_of(*each, names_intents=False) for each in answered_by(db, summary.run, sessions)]
    told = {}
    for measure in _MEASURES:
        [value] = estimate_cells([Cell.of([each[measure] for each in found])], within=(0, 1))
        told[measure] = [round(number, 4) for number in (value.mean, value.low, value.high)]
    return {"dataset": summary.run.dataset, "n": len(found), "student": summary.run.name, **told}
