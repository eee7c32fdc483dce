"""What the place Models does with the store and files in the background, and its results as messages."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from textual.message import Message

from kdtui.tui.core.activity import Activity
from kdtui.tui.core.store_worker import StoreChanged
from kdtui.workflows.manage_models import ModelRow

if TYPE_CHECKING:
    from kdtui.workflows.model_uses import ModelUses
    from kdtui.workflows.student.describe_model import Fit, ModelDetails
    from store.records import RunSettings
    from store.sqlite import Database


@dataclass(frozen=True, slots=True)
class BitOptions:
    """The quantizations that a model can be written in, the one that suits this machine, and why."""

    names: tuple[str, ...]
    suitable: str
    reason: str


@dataclass(slots=True)
class ModelWork:
    """Work that makes or writes a model.

    Attributes:
        failed: prefix of the message when it fails.
        stopped: message when it is stopped.
        is_done: whether the model was made; a stop can come too late.
        made: the name of the model that was made, if it has one.
    """

    activity: Activity
    failed: str
    stopped: str
    is_done: bool = False
    made: str | None = None


class ModelsListed(Message):
    """The models are known; the contents of their files follow."""

    def __init__(self, rows: list[ModelRow], named_database: Path | None) -> None:
        super().__init__()
        self.rows, self.named_database = rows, named_database


class ModelRead(Message):
    """The file of a model was read."""

    def __init__(self, listed: ModelRow, row: ModelRow) -> None:
        super().__init__()
        self.listed, self.row = listed, row


class Described(Message):
    """The details of a model were read."""

    def __init__(self, model: ModelRow, details: "ModelDetails") -> None:
        super().__init__()
        self.model, self.details = model, details


class FitsFound(Message):
    """The bases that an adapter fits are known."""

    def __init__(self, model: ModelRow, fits: "list[Fit]") -> None:
        super().__init__()
        self.model, self.fits = model, fits


class BitOptionsFound(Message):
    """The quantizations that a model can be written in are known."""

    def __init__(self, model: ModelRow, bits: BitOptions) -> None:
        super().__init__()
        self.model, self.bits = model, bits


class UsesFound(Message):
    """It is known what uses a model that can be deleted."""

    def __init__(self, model: ModelRow, uses: "ModelUses") -> None:
        super().__init__()
        self.model, self.uses = model, uses


class StudentFound(Message):
    """The settings with which the workbench asks a model."""

    def __init__(self, settings: "RunSettings") -> None:
        super().__init__()
        self.settings = settings


class ModelsChanged(StoreChanged):
    """A model was added, made or removed."""

    def __init__(self, sentence: str, name: str | None = None) -> None:
        super().__init__(sentence)
        self.name = name


def read_details(name: str, db: "Database") -> "ModelDetails":
    """Return the details of a model; for worker threads, since they are read from its file."""
    from kdtui.workflows.student.describe_model import describe_model

    return describe_model(db, name)


def find_fits(details: "ModelDetails", db: "Database") -> "list[Fit]":
    """Return the bases that an adapter fits; their weights may have to be read."""
    from kdtui.workflows.student.describe_model import find_fits

    return list(find_fits(db, details))


def student_for(name: str, db: "Database") -> "RunSettings":
    """Return the settings that ask a model, or an adapter with a base that it fits."""
    from kdtui.workflows.student.describe_model import settings_for_model

    return settings_for_model(db, name)


def bit_options(db: "Database") -> BitOptions:  # noqa: ARG001
    """Return the quantizations that this machine can write."""
    from models.llama.model import can_use_gpu, system_features
    from models.llama.quantization import QUANTIZATIONS, suitable_quantization

    return BitOptions(tuple(QUANTIZATIONS), *suitable_quantization(system_features(), gpu=can_use_gpu()))


def add_model_file(path: Path, name: str | None, db: "Database") -> ModelsChanged:
    """Give a GGUF file a name."""
    from kdtui.workflows.manage_models import add_file

    added = add_file(db, path, name).name
    return ModelsChanged(f"{added} is added; choose it by that name", added)


def import_adapter(path: Path, name: str | None, database: Path, db: "Database") -> Iterator[ModelsChanged]:
    """Copy the adapter in a folder."""
    from kdtui.workflows.adapters.import_adapter import import_adapter as import_folder
    from kdtui.workflows.manage_models import models_folder

    taken = import_folder(db, path, name, models_folder(database))
    yield ModelsChanged("; ".join([f"{taken.model.name} is added", *filter(None, [taken.note])]), taken.model.name)


def merge_and_report(
    adapters: Sequence[tuple[str, float]], rank: int | None, name: str | None, database: Path, db: "Database"
) -> Iterator[ModelsChanged]:
    """Merge adapters into one."""
    from kdtui.workflows.adapters.merge import merge_adapters
    from kdtui.workflows.manage_models import models_folder

    made = merge_adapters(db, adapters, name, models_folder(database), rank=rank)
    yield ModelsChanged("; ".join([made.in_words, *made.notes]), made.model.name)


def export_and_report(
    adapter: str, folder: Path, licence: str | None, base: str | None, replace: bool, db: "Database"
) -> Iterator[ModelsChanged]:
    """Write an adapter to a folder."""
    from kdtui.workflows.adapters.export import export_adapter

    made = export_adapter(db, adapter, folder, licence=licence, base=base, replace=replace)
    yield ModelsChanged("; ".join([made.in_words, *filter(None, [made.note])]), adapter)


def uses_of_removable(name: str, db: "Database") -> "ModelUses":
    """Return what uses a model, if it can be deleted."""
    from kdtui.workflows.manage_models import removable_model
    from kdtui.workflows.model_uses import uses_of_model

    removable_model(db, name)
    return uses_of_model(db, name)


def delete_and_report(name: str, db: "Database") -> ModelsChanged:
    """Delete a model with the files that kdtui made or copied."""
    from kdtui.workflows.manage_models import remove_model

    deleted = remove_model(db, name)
    return ModelsChanged(f"deleted {name} and {deleted}" if deleted else f"deleted {name}; its file stays")
