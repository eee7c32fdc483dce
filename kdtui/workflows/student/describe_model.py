"""Describe a model: what its file says; for an adapter, what it was trained with, and which local bases it fits."""

from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from platformdirs import user_cache_path

from kdtui.errors import KdtuiError
from kdtui.text import counted
from kdtui.workflows.job_state import base_of
from kdtui.workflows.manage_models import ModelRow, known_models, read_model
from kdtui.workflows.model_names import located_model
from kdtui.workflows.student.manifest import training_of
from kdtui.workflows.student.settings import add_trained_knowledge
from models.embedded import SHIPPED
from models.errors import ModelError
from store.errors import NotFound
from store.jobs import get_job
from store.records import RunSettings
from store.similar import suggestion

if TYPE_CHECKING:
    from models.adapters.provenance import AdapterInfo
    from models.llama.quantization import ModelInfo
    from store.sqlite import Database


@dataclass(frozen=True, slots=True)
class ModelDetails:
    """What is known about a model.

    Attributes:
        header: the metadata of a base, by the keys of GGUF.
        adapter: the metadata of an adapter; None for a base.
        training: the name of the adapter's training, if it still exists.
    """

    row: ModelRow
    header: dict[str, str]
    adapter: "AdapterInfo | None" = None
    training: str | None = None


@dataclass(frozen=True, slots=True)
class Fit:
    """Whether an adapter fits a base.

    Attributes:
        problem: why it does not.
        certain: whether the adapter says what it was trained on; its architecture alone is a guess.
    """

    base: str
    problem: str | None
    certain: bool = True

    @property
    def answer(self) -> str:
        """The same in words."""
        return self.problem or ("yes" if self.certain else "perhaps; it does not say what it was trained on")


def describe_model(db: "Database", name: str) -> ModelDetails:
    """Describe the model of this name. Problems of its file are a part of the description.

    Raises:
        NotFound: there is no such model.
    """
    rows = list(known_models(db))
    known = next((row for row in rows if row.name == name), None)
    if known is None:
        names = (row.name for row in rows)
        raise NotFound(f"there is no model {name!r}; {suggestion(name, names, 'kdtui model ls lists all models')}")
    row = read_model(known)
    if row.problem is not None:
        return ModelDetails(row, {}, training=_training(db, row))
    try:
        if row.kind != "adapter":
            return ModelDetails(row, _header(row.path))
        from models.adapters.provenance import adapter_info

        return ModelDetails(row, {}, adapter_info(row.path), _training(db, row))
    except ModelError as error:
        return ModelDetails(replace(row, problem=str(error)), {}, training=_training(db, row))


def _training(db: "Database", row: ModelRow) -> str | None:
    """Return the name of the training of an adapter, which is also its own."""
    if row.kind == "adapter":
        try:
            return get_job(db, row.name).name
        except NotFound:
            pass
    return None


def _header(path: Path) -> dict[str, str]:
    from models.llama.model_header import meta_values, vocabulary_only

    with vocabulary_only(path) as model:
        return dict(sorted(meta_values(model).items()))


def find_fits(db: "Database", details: ModelDetails) -> Iterator[Fit]:
    """Yield whether an adapter fits each base on this machine. Slow results are cached."""
    for known in known_models(db):
        if known.kind == "base":
            yield _fit(details, read_model(known))


def _fit(details: ModelDetails, base: ModelRow) -> Fit:
    """Return whether an adapter fits a base whose file has been read."""
    from models.adapters.provenance import check_adapter, names_base
    from models.llama.model import LlamaModel

    adapter = details.adapter
    assert adapter is not None
    if base.info is None:
        return Fit(base.name, base.problem)
    if (differs := _other_shape(adapter, base.info)) is not None:
        return Fit(base.name, differs)
    try:
        with closing(LlamaModel(base.path, vocabulary_only=True)) as vocabulary:
            cache = user_cache_path("kdtui") / "norms"
            check_adapter(details.row.path, adapter.manifest, vocabulary, base.path, cache)
    except ModelError as error:
        return Fit(base.name, str(error).removeprefix(f"{details.row.path}: "))
    return Fit(base.name, None, names_base(adapter.manifest))


def _other_shape(adapter: "AdapterInfo", base: "ModelInfo") -> str | None:
    """Say why the matrices of an adapter do not fit into a base; None if they do."""
    if base.architecture != adapter.architecture:
        return f"its architecture is {base.architecture}, not {adapter.architecture}"
    if base.layers < adapter.layers:
        return f"it has {counted(base.layers, 'layer')}, and the adapter needs at least {adapter.layers}"
    if adapter.width not in (0, base.width):
        return f"its width is {base.width}, and the adapter needs {adapter.width}"
    return None


def settings_for_model(db: "Database", name: str) -> RunSettings:
    """Return settings that use a model. An adapter gets a base that it fits, and its knowledge from training.

    Raises:
        NotFound: there is no model of that name.
        KdtuiError: its file cannot be used, or no base on this machine fits it.
    """
    details = describe_model(db, name)
    if details.row.problem is not None:
        raise KdtuiError(details.row.problem)
    if details.row.kind == "encoder":
        raise KdtuiError(f"{name} is a sentence encoder: it makes vectors and cannot answer")
    if name == SHIPPED or details.adapter is None:
        return RunSettings(name)
    settings = RunSettings(_base_for(db, details), adapters=((name, 1.0),))
    trained = training_of(details.adapter.manifest)
    return settings if trained is None else add_trained_knowledge(settings, trained)


def _base_for(db: "Database", details: ModelDetails) -> str:
    """Return the base that an adapter was trained on, or one that it fits."""
    assert details.adapter is not None
    if details.training is not None:
        # Its folder can be gone, or written by another version.
        with suppress(ModelError):
            if (trained_on := base_of(get_job(db, details.training))) is not None:
                return trained_on
    if (fit := _best_fit(db, details)) is None:
        name, base = details.row.name, details.adapter.manifest.get("base", "what it was trained on")
        raise KdtuiError(f"adapter {name!r} needs a GGUF file of its base, {base}; add it with: kdtui model add FILE")
    return fit.base


def fitting_base(db: "Database", details: ModelDetails) -> str | None:
    """Return the name or the file of a local base that an adapter fits; None if there is none."""
    fit = _best_fit(db, details)
    return None if fit is None else fit.base


def base_path(db: "Database", details: ModelDetails) -> Path | None:
    """Return the file of that base."""
    base = fitting_base(db, details)
    return None if base is None else located_model(db, base)


def _best_fit(db: "Database", details: ModelDetails) -> Fit | None:
    assert details.adapter is not None
    trained_on = Path(str(details.adapter.manifest.get("base", "")))
    if details.training is None and trained_on.is_absolute() and trained_on.suffix == ".gguf" and trained_on.is_file():
        # The base of a training, or of a merge of trainings, can be a file without a name.
        row = read_model(ModelRow(str(trained_on), trained_on, "", None, None))
        if (fit := _fit(details, row)).problem is None and fit.certain:
            return fit
    fits = [fit for fit in find_fits(db, details) if fit.problem is None]
    return max(fits, key=lambda fit: fit.certain, default=None)


def summary_lines(details: ModelDetails) -> list[tuple[str, str]]:
    """Return the most important facts as pairs of a label and a value."""
    row, info, adapter = details.row, details.row.info, details.adapter
    lines = [("name", row.name), ("kind", row.kind), ("path", str(row.path)), ("from", row.source)]
    if row.problem is not None:
        lines.append(("problem", row.problem))
    if details.training is not None:
        lines.append(("training", details.training))
    if row.default_for:
        lines.append(("default for", ", ".join(row.default_for)))
    if info is not None:
        lines += [
            ("architecture", info.architecture),
            ("weights", f"{info.parameters:,}"),
            ("bits", info.quantization),
            ("size", f"{info.bytes / 1e6:,.1f} MB"),
            ("context", f"{info.context:,} tokens"),
        ]
    if adapter is not None:
        lines += [
            ("architecture", adapter.architecture),
            ("changes", f"{adapter.weights} matrices, rank {adapter.rank}, alpha {adapter.alpha:g}"),
            ("size", f"{adapter.bytes / 1e6:,.1f} MB"),
        ]
    return lines


def detail_lines(details: ModelDetails) -> list[tuple[str, str]]:
    """Return the header of a base, or the manifest of an adapter, as such pairs."""
    if details.adapter is None:
        return list(details.header.items())
    return _flat("", details.adapter.manifest) or [("manifest", "none: this adapter was made elsewhere")]


def _flat(prefix: str, content: Mapping[str, object]) -> list[tuple[str, str]]:
    """Flatten a manifest into lines: nested tables follow their parent, and related numbers share a line."""
    lines = []
    for key, value in content.items():
        if isinstance(value, Mapping) and any(isinstance(each, Mapping) for each in value.values()):
            lines += _flat(f"{prefix}{key}.", value)
        elif isinstance(value, Mapping):
            values = ", ".join(f"{name} {_shown(each)}" for name, each in value.items())
            lines.append((f"{prefix}{key}", values or "–"))
        else:
            lines.append((f"{prefix}{key}", _shown(value)))
    return lines


def _shown(value: object) -> str:
    match value:
        case None:
            return "–"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.4g}"
        case list():
            return ", ".join(map(_shown, value)) or "–"
    return str(value)
