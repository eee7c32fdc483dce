"""The files of an adapter, their content, and the public name of its base."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

from platformdirs import user_cache_path

from kdtui.errors import KdtuiError
from kdtui.workflows.adapters.new_adapter import is_copied
from kdtui.workflows.manage_models import ModelRow, is_repository, own_files
from kdtui.workflows.model_names import is_file
from kdtui.workflows.student.adapters import adapter_file
from kdtui.workflows.student.describe_model import ModelDetails, base_path
from models.adapters.base_shape import base_shape
from models.adapters.deltas import Delta, gguf_deltas, peft_deltas
from models.adapters.peft_settings import BASE_CONFIG, CONFIG
from models.adapters.provenance import adapter_info, norms_hash
from models.embedded import HUB_ID, SHIPPED, SHIPPED_FOLDER, embedded_student
from models.sft.job_files import ADAPTER
from store.models import named_models

if TYPE_CHECKING:
    from models.adapters.base_shape import BaseShape
    from models.adapters.provenance import AdapterInfo
    from store.sqlite import Database


@dataclass(frozen=True, slots=True)
class LocalAdapter:
    """An adapter on this machine.

    Attributes:
        name: of the adapter; for one that is named by its file, the name of the file.
        gguf: its file for llama.cpp.
        folder: its files for PEFT; None if it has none.
        info: the metadata of its file.
        shape: of its base; None if neither the adapter nor a local base says it.
        is_from_elsewhere: whether its training was elsewhere, so that datasets of this store say nothing about it.
    """

    name: str
    gguf: Path
    folder: Path | None
    info: "AdapterInfo"
    shape: "BaseShape | None"
    is_from_elsewhere: bool

    @property
    def manifest(self) -> Mapping[str, Any]:
        """What it was trained with, as far as it is known; with its training data if that was elsewhere."""
        return {"data": {}, **self.info.manifest} if self.is_from_elsewhere else self.info.manifest

    def known_shape(self) -> "BaseShape":
        """Return the shape of its base.

        Raises:
            KdtuiError: it is unknown.
        """
        if self.shape is None:
            base = self.manifest.get("base") or "what it was trained on"
            raise KdtuiError(
                f"adapter {self.name!r} needs a GGUF file of its base, {base}; add it with: kdtui model add FILE"
            )
        return self.shape

    def deltas(self) -> dict[str, Delta]:
        """Return what it adds to each module.

        Raises:
            KdtuiError: the shape of its base is unknown, which a file for llama.cpp needs.
            ModelError: the files cannot be read.
        """
        if self.folder is not None:
            return peft_deltas(self.folder)
        return gguf_deltas(self.gguf, self.known_shape())


def local_adapter(db: "Database", adapter: str) -> LocalAdapter:
    """Return the adapter of this name, or in this GGUF file.

    Raises:
        KdtuiError: there is no such adapter.
        ModelError: its file cannot be read.
    """
    gguf = adapter_file(db, adapter)
    info = adapter_info(gguf)
    if not info.weights:
        raise KdtuiError(f"{gguf}: this is not an adapter, since it changes no weight of a base")
    folder = None if is_file(adapter) else _peft_folder(db, adapter, gguf)
    name = gguf.stem if is_file(adapter) else adapter
    # Nobody knows where a file without a name comes from.
    is_from_elsewhere = is_file(adapter) or any(
        model.name == adapter and is_copied(model) for model in named_models(db)
    )
    if folder is not None and (folder / BASE_CONFIG).is_file():
        return LocalAdapter(name, gguf, folder, info, base_shape(folder), is_from_elsewhere)
    row = ModelRow(name, gguf, str(gguf), None, None, "adapter")
    base = base_path(db, ModelDetails(row, {}, info))
    return LocalAdapter(name, gguf, folder, info, None if base is None else base_shape(base), is_from_elsewhere)


def _peft_folder(db: "Database", name: str, gguf: Path) -> Path | None:
    """Return the folder with the PEFT files of a named adapter."""
    if name == SHIPPED:
        return SHIPPED_FOLDER
    # The folder of a training is next to its file. Made and imported adapters have all files in one folder.
    own = [model for model in named_models(db) if model.name == name and own_files(model) == gguf.parent]
    folders = [gguf.parent if own else gguf.parent / ADAPTER]
    return next((folder for folder in folders if (folder / CONFIG).is_file()), None)


def public_base(db: "Database", manifest: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """Return the public name of the base of an adapter: its hub id if known, or its name without folders.

    Args:
        config: the PEFT configuration; may be empty.
    """
    named = str(manifest.get("base") or config.get("base_model_name_or_path") or "unknown")
    if is_repository(named) and not named.endswith(".gguf") and not Path(named).exists():
        return named
    name = bare_name(named)
    embedded = embedded_student()
    norms = norms_hash(embedded, user_cache_path("kdtui") / "norms")
    # In any quantization.
    if name == embedded.name or manifest.get("norms_sha256") == norms:
        return HUB_ID
    for model in named_models(db):
        repository = "/".join(model.source.split("/")[:2])
        if model.path.name == name and model.made and is_repository(repository) and model.kind == "base":
            return repository
    return name


def bare_name(text: str) -> str:
    """Return the last part of a path of any system; other text unchanged."""
    if text.startswith(("/", "~", "./", "../")) or text.endswith(".gguf"):
        text = PurePosixPath(text).name
    return PureWindowsPath(text).name if PureWindowsPath(text).is_absolute() else text


def without_paths(content: Any) -> Any:
    """Replace each path in JSON by its last part."""
    if isinstance(content, Mapping):
        return {bare_name(str(key)): without_paths(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [without_paths(value) for value in content]
    return bare_name(content) if isinstance(content, str) else content


def base_config_of(source: LocalAdapter) -> dict[str, Any]:
    """Return the transformers configuration of the base of an adapter, as far as it is known.

    Raises:
        KdtuiError: the shape of the base is unknown.
    """
    from models.adapters.folder import shape_config

    if source.folder is not None and (source.folder / BASE_CONFIG).is_file():
        from models.files.json_files import read_object

        config: dict[str, Any] = without_paths(read_object(source.folder / BASE_CONFIG))
        return config
    return shape_config(source.known_shape())
