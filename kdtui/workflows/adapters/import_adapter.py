"""Import an adapter from an untrusted folder: check it, copy it, and name it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from platformdirs import user_cache_path

from kdtui.errors import KdtuiError
from kdtui.workflows.adapters.export import KIND
from kdtui.workflows.adapters.local_adapters import bare_name, without_paths
from kdtui.workflows.adapters.new_adapter import copied_from, free_adapter_name, new_adapter
from kdtui.workflows.manage_models import ModelRow, known_models, read_model, slug
from models.adapters.base_shape import BaseShape, base_shape, configured_shape
from models.adapters.conversion import convert
from models.adapters.deltas import Delta, check_finite, gguf_deltas, misfit, peft_deltas
from models.adapters.foreign import check_config, copy_files, read_described
from models.adapters.peft_settings import BASE_CONFIG, CONFIG, MANIFEST
from models.adapters.provenance import adapter_info, check_adapter, names_base
from models.embedded import HUB_ID, NAME
from models.errors import ModelError
from store.models import named_model

if TYPE_CHECKING:
    from store.models import NamedModel
    from store.sqlite import Database


@dataclass(frozen=True, slots=True)
class ImportedAdapter:
    """An adapter that was copied.

    Attributes:
        base: a local model that it fits; None if there is none.
        certain: whether the adapter says what it was trained on, and that is the base.
        missing: the name of its base if that is not on this machine; None if it is.
    """

    model: "NamedModel"
    base: str | None
    certain: bool
    missing: str | None

    @property
    def in_words(self) -> str:
        """What was done, as a sentence without a full stop."""
        name, folder = self.model.name, self.model.path.parent
        return f"{name} is an adapter, copied to {folder}; use it with: --adapter {name}"

    @property
    def note(self) -> str | None:
        """What the user should know about its base; None for nothing."""
        if self.missing is not None:
            return f"its base, {self.missing}, is missing; add it with: kdtui model add FILE"
        if not self.certain:
            return f"it does not say what it was trained on; its weights have the same shapes as those of {self.base}"
        return None


def import_adapter(
    db: "Database", folder: Path, name: str | None, models: Path, *, gguf: str | None = None
) -> ImportedAdapter:
    """Check an adapter, copy it from a folder, and name it.

    The folder is an export of kdtui, a PEFT folder, or one with a GGUF adapter. Other files in it are not read.

    Args:
        models: the folder of the models that the program makes.
        gguf: which GGUF file; None for the only one of a folder without an adapter for PEFT.

    Raises:
        KdtuiError: the name cannot be used, or the adapter cannot be converted without its base.
        ModelError: the folder holds no adapter, or one that is damaged, unsafe, or not for its base.
    """
    name = free_adapter_name(db, name or slug(folder.resolve().name), models)
    bases = [row for row in map(read_model, known_models(db)) if row.kind == "base" and row.info is not None]
    with new_adapter(db, name, models, copied_from(folder.resolve())) as part:
        copied_gguf = copy_files(folder, part, gguf)
        if copied_gguf is None:
            base = _take_peft(folder, part, name, bases)
        else:
            (part / copied_gguf).rename(part / f"{name}.gguf")
            with _errors_about(folder / copied_gguf, part / f"{name}.gguf"):
                base = _check_gguf(part / f"{name}.gguf", bases)
    local = None if base.row is None else base.row.name
    return ImportedAdapter(named_model(db, name), local, base.certain, base.public_name if local is None else None)


@dataclass(frozen=True, slots=True)
class _Base:
    """The base of an adapter: a local model, or None, and its public name."""

    row: ModelRow | None
    public_name: str
    certain: bool


def _take_peft(folder: Path, part: Path, name: str, bases: list[ModelRow]) -> _Base:
    """Check a copied PEFT adapter, rewrite its metadata, and convert it."""
    from models.adapters.folder import plain_config, shape_config, write_json

    with _errors_about(folder, part):
        manifest, config, base_config = (read_described(part / each) for each in (MANIFEST, CONFIG, BASE_CONFIG))
        _check_kind(manifest)
        check_config(config)
        deltas = peft_deltas(part)
        named = str(config.get("base_model_name_or_path") or "")
        base = _base_of(part, manifest, named, lambda _: deltas, bases)
        shape: BaseShape | None = configured_shape(base_config, BASE_CONFIG) if base_config else None
        if base.row is not None:
            its = base_shape(base.row.path)
            if shape is not None and shape != its:
                raise ModelError(f"{part}: {BASE_CONFIG} is not that of its base, {base.row.name}")
            shape = its
        if shape is None:
            raise KdtuiError(
                f"{part}: this adapter can only be converted with its base, {base.public_name}, which is missing; add "
                "a GGUF file of it first, with: kdtui model add FILE"
            )
        write_json(part / CONFIG, plain_config(config, base.public_name))
        write_json(part / BASE_CONFIG, without_paths(base_config) or shape_config(shape))
        write_json(part / MANIFEST, {"data": {}, **without_paths(manifest), "name": name, "base": base.public_name})
        convert(part, part, part / f"{name}.gguf")
    return base


def _check_gguf(adapter: Path, bases: Sequence[ModelRow]) -> _Base:
    """Check a copied GGUF adapter."""
    info = adapter_info(adapter)
    _check_kind(info.manifest)
    if not info.weights:
        raise ModelError(f"{adapter}: this is not an adapter; name a model with: kdtui model add FILE")
    check_finite(adapter)
    return _base_of(adapter, info.manifest, "", lambda base: gguf_deltas(adapter, base_shape(base)), bases)


def _check_kind(manifest: Mapping[str, Any]) -> None:
    kind = manifest.get("kind", KIND)
    if kind != KIND:
        raise ModelError(f"{MANIFEST}: its kind is {kind!r}, which this version of kdtui does not know; update kdtui")


def _base_of(
    adapter: Path,
    manifest: Mapping[str, Any],
    named: str,
    deltas: Callable[[Path], Mapping[str, Delta]],
    bases: Sequence[ModelRow],
) -> _Base:
    """Return the model that an adapter is for.

    Args:
        named: the base in its configuration; may be empty.
        deltas: returns what it adds to each module, given the GGUF file of a base.

    Raises:
        ModelError: a local base is the one that it says it was trained on, and its weights do not fit.
    """
    public_name = bare_name(str(manifest.get("base") or named or "unknown"))
    if names_base(manifest):
        certain = [row for row in bases if _is_trained_on(adapter, manifest, row)]
        # If the weights of the base are unknown, several bases can have its chat template.
        must_fit = certain if manifest.get("norms_sha256") is not None else []
    else:
        certain = must_fit = [row for row in bases if named and bare_name(named) in _called(row)]
    reasons = {row.name: _misfit(row.path, deltas) for row in certain or (() if names_base(manifest) else bases)}
    fits = [row for row in bases if reasons.get(row.name, "") is None]
    if must_fit and not fits:
        row = must_fit[0]
        raise ModelError(f"{adapter}: it does not fit {row.name}, on which it was trained: {reasons[row.name]}")
    return _Base(fits[0] if fits else None, public_name, names_base(manifest))


def _is_trained_on(adapter: Path, manifest: Mapping[str, Any], row: ModelRow) -> bool:
    from models.llama.model import LlamaModel

    try:
        with closing(LlamaModel(row.path, vocabulary_only=True)) as vocabulary:
            check_adapter(adapter, manifest, vocabulary, row.path, user_cache_path("kdtui") / "norms")
    except ModelError:
        return False
    return True


def _misfit(base: Path, deltas: Callable[[Path], Mapping[str, Delta]]) -> str | None:
    """Return why an adapter does not fit a base; None if it does."""
    try:
        return misfit(deltas(base), base)
    except ModelError as error:
        return str(error)


def _called(row: ModelRow) -> set[str]:
    """Return the possible names of a base in a configuration."""
    return {row.name, row.path.name, row.path.stem, HUB_ID if row.name == NAME else row.name}


@contextmanager
def _errors_about(source: Path, copy: Path) -> Iterator[None]:
    """Let errors name the source in place of its copy, which no user has seen."""
    try:
        yield
    except (ModelError, KdtuiError) as error:
        raise type(error)(str(error).replace(str(copy), str(source))) from error
