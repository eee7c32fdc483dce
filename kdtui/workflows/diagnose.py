"""Check what the program finds on this machine."""

import os
import platform
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from kdtui.text import counted
from models.errors import ModelError
from store.errors import StoreError

if TYPE_CHECKING:
    from store.models import NamedModel

_PACKAGES = ("kdtui", "textual", "typer", "rich", "sqlite-utils", "llama-cpp-python")
_PATIENCE = 60.0
"""Seconds that a trial of llama.cpp may take."""

_SFT_PACKAGES = ("torch", "transformers", "peft")


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that was checked. "optional" is missing but not needed by everyone; `found` says how to get it."""

    name: str
    state: Literal["ok", "optional", "missing"]
    found: str


def diagnose(database: Path) -> Iterator[Finding]:
    """Check versions, the database, the models, the processor and the GPU back end, one finding each."""
    yield Finding("python", "ok", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    for package in _PACKAGES:
        installed = _version(package)
        yield Finding(package, "ok" if installed else "missing", installed or f"not installed; pip install {package}")
    yield from _database(database)
    yield from _llama()
    lacking = [package for package in _SFT_PACKAGES if not _version(package)]
    if lacking:
        advice = f"{', '.join(lacking)} not installed; to fine-tune on this machine: pip install 'kdtui[sft]'"
        yield Finding("fine-tuning", "optional", advice)
    else:
        yield Finding("fine-tuning", "ok", ", ".join(f"{package} {_version(package)}" for package in _SFT_PACKAGES))


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _database(path: Path) -> Iterator[Finding]:
    import sqlite3

    from kdtui.workflows.data.category_check import datasets_with_cut_categories
    from store.damage import first_damage
    from store.database import open_database
    from store.datasets import dataset_names
    from store.errors import explain
    from store.jobs import list_jobs
    from store.location import database_exists
    from store.models import named_models

    try:
        if not database_exists(path):
            yield _unmade(path)
            return
        db = open_database(path, make=False)
    except StoreError as error:
        yield Finding("database", "missing", str(error))
        return
    try:
        damage = first_damage(db)
    except sqlite3.Error as error:
        db.close()
        yield Finding("database", "missing", explain(error))
        return
    if damage is not None:
        db.close()
        advice = "restore a copy of it, or save what can be read: sqlite3 FILE .recover | sqlite3 NEW"
        yield Finding("database", "missing", f"{path} is damaged ({damage}); {advice}")
        return
    size = f"{path.stat().st_size / 1e6:,.1f} MB"
    yield Finding("database", "ok", f"{path} ({size}, {counted(len(dataset_names(db)), 'dataset')})")
    for dataset, items in datasets_with_cut_categories(db):
        advice = (
            f"an earlier version cut category names at ', ' in {counted(items, 'item')} (Clothing, Shoes & Jewelry); "
            f"import it again: kdtui data import FOLDER --dataset {dataset} --replace (that deletes its knowledge and "
            "its runs; save what a teacher taught with kdtui knowledge export)"
        )
        yield Finding(f"dataset {dataset}", "optional", advice)
    yield from _stored_models(named_models(db), {job.name for job in list_jobs(db)})
    db.close()


def _stored_models(models: "Iterable[NamedModel]", trainings: Collection[str]) -> Iterator[Finding]:
    """Check the files of models and adapters against the SHA-256 that was kept when they were fetched or made.

    Args:
        trainings: their names; an adapter is deleted with its training.
    """
    from kdtui.workflows.kept_sums import has_changed

    unchanged = 0
    for model in models:
        try:
            changed = has_changed(model.path)
        except OSError as error:
            yield Finding(f"model {model.name}", "missing", f"{model.path}: {error.strerror}")
            continue
        if changed:
            command = "sft" if model.kind == "adapter" and model.name in trainings else "model"
            advice = f"delete it with kdtui {command} rm {model.name}, and make or fetch it again ({model.source})"
            yield Finding(f"model {model.name}", "missing", f"{model.path} is not what was stored; {advice}")
        elif changed is not None:
            unchanged += 1
    if unchanged:
        yield Finding("models", "ok", f"{counted(unchanged, 'file')} with the SHA-256 that was kept")


def _unmade(path: Path) -> Finding:
    """Say whether a missing database could be created."""
    folder = next(parent for parent in path.resolve().parents if parent.exists())
    if folder.is_dir() and os.access(folder, os.W_OK | os.X_OK):
        return Finding("database", "ok", f"{path} (created when first needed)")
    problem = f"{path} cannot be created: {folder} is not a writable folder; choose another with --db"
    return Finding("database", "missing", problem)


def _llama() -> Iterator[Finding]:
    from models.embedded import checked_encoder, embedded_student

    try:
        path = embedded_student()
    except ModelError as error:
        yield Finding("embedded student", "missing", str(error))
    else:
        yield Finding("embedded student", "ok", f"{path} ({path.stat().st_size / 1e6:,.0f} MB)")
    try:
        path = checked_encoder()
    except ModelError as error:
        yield Finding("sentence encoder", "missing", str(error))
    else:
        yield Finding("sentence encoder", "ok", f"{path} ({path.stat().st_size / 1e6:,.0f} MB)")
    try:
        from models.llama.model import can_use_gpu, system_features
        from models.llama.quantization import suitable_quantization
        from models.llama.threads import processors
    except (ImportError, OSError, RuntimeError) as error:
        yield Finding(
            "llama.cpp", "missing", f"cannot be loaded ({error}); pip install --force-reinstall llama-cpp-python"
        )
        return
    features = system_features()
    yield Finding(
        "processor", "ok", f"{', '.join(features) or 'no vector extensions'}; {counted(processors(), 'core')}"
    )
    yield _decoding()
    kind, reason = suitable_quantization(features, gpu=can_use_gpu())
    yield Finding("quantization", "ok", f"{kind}: {reason}; kdtui model quantize smollm2 --to {kind}")
    if can_use_gpu():
        yield Finding("gpu", "ok", "llama.cpp was built with a GPU back end")
    else:
        build = "CMAKE_ARGS=-DGGML_CUDA=on pip install --force-reinstall --no-deps --no-cache-dir llama-cpp-python"
        advice = f"llama.cpp runs on the processor; for CUDA: {build}"
        yield Finding("gpu", "optional", advice)


def _decoding() -> Finding:
    """Check that llama.cpp can compute: a build that does not fit the processor kills its process without a message."""
    from models.llama import selftest
    from models.subprocess_call import run_in_process

    try:
        run_in_process(selftest.main, patience=_PATIENCE)
    except ModelError as error:
        # --no-deps: rebuild only llama.cpp and leave other packages as they are.
        build = "CFLAGS=-mno-amx-int8 CXXFLAGS=-mno-amx-int8 pip install --force-reinstall --no-cache-dir --no-deps"
        return Finding(
            "decoding", "missing", f"llama.cpp fails ({error}); build it without AMX: {build} llama-cpp-python"
        )
    return Finding("decoding", "ok", "llama.cpp decodes")
