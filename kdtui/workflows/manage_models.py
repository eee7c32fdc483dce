"""Name models: existing files, files from a hub, and quantizations of other models."""

import re
import shutil
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from kdtui.errors import KdtuiError
from kdtui.workflows.kept_sums import keep_sum, sum_of
from kdtui.workflows.model_names import RESERVED, located_model
from models import embedded
from models.errors import ModelError
from store.default_adapters import default_adapters
from store.errors import NotFound
from store.jobs import get_job
from store.models import NamedModel, add_model, forget_model, named_model, named_models

if TYPE_CHECKING:
    from models.llama.quantization import ModelInfo
    from store.sqlite import Database

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")

_PART = re.compile(r"-\d{5}-of-\d{5}\.gguf$")
"""How llama.cpp names the parts of a model that is split into several files."""

_HUB_PATIENCE = 20.0
"""Seconds that the hub may take to list a repository."""


@dataclass(frozen=True, slots=True)
class ModelRow:
    """A model, and the metadata of its file, or the problem with it.

    Attributes:
        made: whether the program made the file, so that it is deleted with the name.
        bytes: of the file; None if it has not been read.
        default_for: the datasets whose default adapter it is.
    """

    name: str
    path: Path
    source: str
    info: "ModelInfo | None"
    problem: str | None
    kind: Literal["base", "adapter", "encoder"] = "base"
    made: bool = False
    bytes: int | None = None
    default_for: tuple[str, ...] = ()

    @property
    def is_shipped(self) -> bool:
        """Whether it comes with the program."""
        return self.name in RESERVED or self.kind == "encoder"


def list_models(db: "Database") -> Iterator[ModelRow]:
    """Return the shipped models and all named models."""
    return map(read_model, known_models(db))


def known_models(db: "Database") -> list[ModelRow]:
    """Return the same, before their files are read."""
    rows = []
    try:
        rows.append(ModelRow(embedded.NAME, embedded.embedded_student(), "embedded", None, None))
    except ModelError as error:
        rows.append(ModelRow(embedded.NAME, Path(), "embedded", None, str(error)))
    with suppress(ModelError):
        rows.append(ModelRow(embedded.SHIPPED, embedded.shipped_adapter(), "embedded", None, None, "adapter"))
    try:
        rows.append(ModelRow(embedded.ENCODER, embedded.shipped_encoder(), "embedded", None, None, "encoder"))
    except ModelError as error:
        rows.append(ModelRow(embedded.ENCODER, Path(), "embedded", None, str(error), "encoder"))
    rows += [
        ModelRow(model.name, model.path, model.source, None, None, model.kind, model.made) for model in named_models(db)
    ]
    defaults = default_adapters(db)
    return [
        replace(row, default_for=tuple(dataset for dataset, adapter in defaults.items() if adapter == row.name))
        for row in rows
    ]


def read_model(row: ModelRow) -> ModelRow:
    """Return a model with the metadata of its file."""
    if row.problem is not None:
        return row
    if row.kind == "adapter":
        if not row.path.is_file():
            return replace(row, problem=f"{row.path}: there is no such file")
        return replace(row, bytes=row.path.stat().st_size)
    from models.llama.quantization import model_info

    try:
        info = model_info(row.path)
        return replace(row, info=info, bytes=info.bytes)
    except ModelError as error:
        return replace(row, problem=str(error))


def add_file(db: "Database", path: Path, name: str | None) -> NamedModel:
    """Name a GGUF file; it stays where it is.

    Raises:
        KdtuiError: the name cannot be used.
        ModelError: the file is not a model.
        StoreError: the name is taken.
    """
    from models.llama.quantization import model_info

    model_info(path)
    model = NamedModel(checked_name(name or slug(path.stem)), path.resolve(), str(path.resolve()), made=False)
    add_model(db, model)
    return model


def is_repository(source: str) -> bool:
    """Return whether a source that is not a file names a repository of a hub, `OWNER/NAME`."""
    return _REPOSITORY.fullmatch(source) is not None


def add_from_hub(db: "Database", repository: str, file: str | None, name: str | None, folder: Path) -> NamedModel:
    """Fetch a GGUF file of a repository into a folder, and name it.

    Args:
        file: the file; can be left out if there is only one.

    Raises:
        KdtuiError: the hub cannot be reached or has no such file, the file is damaged, or the name cannot be used.
        StoreError: the name is taken.
    """
    if name is not None:
        checked_free_name(db, name)
    try:
        # Imported here, and optional: most users have their files.
        from huggingface_hub import HfApi, hf_hub_download
    except ImportError as error:
        raise KdtuiError("to fetch models, install the hub's library: pip install 'kdtui[hub]'") from error
    with _hub_errors(repository):
        siblings = HfApi().model_info(repository, timeout=_HUB_PATIENCE, files_metadata=True).siblings or []
    expected = {each.rfilename: each.lfs.sha256 if each.lfs else None for each in siblings}
    files = [each for each in expected if each.endswith(".gguf")]
    chosen = [each for each in files if file in (None, each)]
    if len(chosen) != 1:
        known = ", ".join(files[:12]) or "none"
        raise KdtuiError(f"name the file of {repository} with --file; its GGUF files are: {known}")
    if _PART.search(chosen[0]):
        raise KdtuiError(f"{chosen[0]} is one part of several, which kdtui cannot fetch; choose a complete file")
    name = checked_free_name(db, name or slug(Path(chosen[0]).stem))
    if (folder / name / chosen[0]).exists():
        raise KdtuiError(
            f"{folder / name / chosen[0]}: there is a file of this name already; choose another --name, or delete it"
        )
    with _hub_errors(repository):
        path = Path(hf_hub_download(repository, chosen[0], local_dir=folder / name))
    keep_sum(path, expected[chosen[0]])
    model = NamedModel(name, path, f"{repository}/{chosen[0]}", made=True)
    add_model(db, model)
    return model


@dataclass(frozen=True, slots=True)
class Writing:
    """The number of bytes of a quantized model that have been written."""

    bytes: int


@dataclass(frozen=True, slots=True)
class Quantized:
    """A quantized model, and the sizes in bytes of its source and of its own file."""

    model: NamedModel
    before: int
    after: int


def quantize_model(
    db: "Database", student: str, quantization: str, name: str | None, folder: Path
) -> Iterator[Writing | Quantized]:
    """Write a model in another quantization, and name it. Closing the iterator leaves nothing behind.

    Raises:
        KdtuiError: there is no such quantization, or the name cannot be used.
        ModelError: the source is not a model, or the target cannot be written.
        StoreError: the name is taken.
    """
    from models.llama.quantization import QUANTIZATIONS, quantizing
    from models.llama.threads import processors

    if quantization not in QUANTIZATIONS:
        from store.similar import suggestion

        there_are = f"there are: {', '.join(QUANTIZATIONS)}"
        raise KdtuiError(
            f"there is no quantization {quantization!r}; {suggestion(quantization, QUANTIZATIONS, there_are)}"
        )
    source = located_model(db, student)
    name = checked_free_name(db, name or quantized_name(source, student, quantization))
    target = folder / f"{name}.gguf"
    with closing(quantizing(source, target, quantization, processors())) as steps:
        for written in steps:
            yield Writing(written)
    model = NamedModel(name, target, f"{student} as {quantization}", made=True)
    try:
        keep_sum(target)
        add_model(db, model)
    except BaseException:
        # Nothing else knows the files, and they would block the next attempt.
        for path in (target, sum_of(target)):
            path.unlink(missing_ok=True)
        raise
    yield Quantized(model, source.stat().st_size, target.stat().st_size)


def quantized_name(source: Path, student: str, quantization: str) -> str:
    """Return the default name of a quantized model."""
    stem = student if source.stem != Path(student).stem else source.stem
    return slug(f"{stem}-{quantization}".lower())


def models_folder(database: Path) -> Path:
    """Return the folder of models that the program makes or fetches, next to the database that knows them."""
    return database.resolve().parent / "models"


def remove_model(db: "Database", name: str) -> Path | None:
    """Delete a model from the list, and its file if the program made it. Return the deleted file or folder, if any.

    Raises:
        NotFound: there is no model of that name.
        KdtuiError: it is the adapter of a training.
    """
    own = own_files(removable_model(db, name))
    # Delete first: a file that cannot be deleted keeps its name, so that the user can try again.
    if own is not None and own.is_dir():
        shutil.rmtree(own)
    elif own is not None:
        own.unlink(missing_ok=True)
        sum_of(own).unlink(missing_ok=True)
    forget_model(db, name)
    return own


def removable_model(db: "Database", name: str) -> NamedModel:
    """Return the model of this name, if it can be deleted on its own.

    Raises:
        NotFound: there is no model of that name.
        KdtuiError: it is the adapter of a training, which would name it again.
    """
    model = named_model(db, name)
    if model.kind == "adapter":
        with suppress(NotFound):
            get_job(db, name)
            raise KdtuiError(f"{name!r} is the adapter of a training; delete both with: kdtui sft rm {name}")
    return model


def own_files(model: "NamedModel | ModelRow") -> Path | None:
    """Return what is deleted with the name of a model: a file, or the folder of an adapter.

    None if the program did not make it.
    """
    if not model.made:
        return None
    # kdtui names the folder of an adapter after the adapter; any other folder is not its own.
    return model.path.parent if model.kind == "adapter" and model.path.parent.name == model.name else model.path


@contextmanager
def _hub_errors(repository: str) -> Iterator[None]:
    """Turn any error of the hub's library into one sentence: its error types change with its versions."""
    try:
        yield
    except Exception as error:
        if type(error).__name__ == "RepositoryNotFoundError":
            raise KdtuiError(f"there is no file {repository}, and the hub has no such repository") from error
        line = " ".join(str(error).split())[:160]
        raise KdtuiError(f"{repository} cannot be fetched ({type(error).__name__}: {line})") from error


def checked_free_name(db: "Database", name: str) -> str:
    """Return the name, if it is free.

    Raises:
        KdtuiError: no model can have it, or a model or a training has it.
    """
    checked_name(name)
    # A training gives its name to its adapter when it is done.
    for kind, find, remove in (("model", named_model, "model"), ("training", get_job, "sft")):
        with suppress(NotFound):
            find(db, name)
            raise KdtuiError(f"there is a {kind} {name!r} already; choose another --name, or kdtui {remove} rm {name}")
    return name


def checked_name(name: str) -> str:
    """Return the name, if a model can have it.

    Raises:
        KdtuiError: it cannot.
    """
    if name in (*RESERVED, embedded.ENCODER):
        raise KdtuiError(f"{name!r} is the name of a model that comes with kdtui; choose another --name")
    if not _NAME.fullmatch(name):
        raise KdtuiError(f"{name!r} cannot be a name; use letters, digits, dots, dashes and underscores")
    if name.endswith(".gguf"):
        raise KdtuiError(f"{name!r} cannot be a name, since --student takes it for a file; leave out .gguf")
    return name


def slug(text: str) -> str:
    """Turn a text into a valid model name."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", text).lower()
    return re.sub(r"^[-._]+|([-._]|\.gguf)+$", "", name) or "model"


def unused_name(name: str, used: Collection[str]) -> str:
    """Return the name, with a number at its end if it is used already."""
    numbered = (f"{name}-{number}" for number in count(2))
    return next(each for each in chain([name], numbered) if each not in used)
