"""What the program finds on this machine."""

import platform
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from models.errors import ModelError
from store.errors import StoreError

_PACKAGES = ("kdtui", "textual", "typer", "rich", "sqlite-utils", "llama-cpp-python", "scikit-learn")
_SFT_PACKAGES = ("torch", "transformers", "peft")


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that was looked at. "optional" is not here and not needed by everyone; `found` says how to get it."""

    name: str
    state: Literal["ok", "optional", "missing"]
    found: str


def diagnose(database: Path) -> Iterator[Finding]:
    """Look at versions, the database, the models, the processor and the GPU back end, one finding after the other."""
    yield Finding("python", "ok", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    for package in _PACKAGES:
        found = _version(package)
        yield Finding(package, "ok" if found else "missing", found or f"not installed; pip install {package}")
    yield _database(database)
    yield from _llama()
    lacking = [package for package in _SFT_PACKAGES if not _version(package)]
    if lacking:
        advice = f"{', '.join(lacking)} not installed; to fine-tune here: pip install 'kdtui[sft]'"
        yield Finding("fine-tuning", "optional", advice)
    else:
        yield Finding("fine-tuning", "ok", ", ".join(f"{package} {_version(package)}" for package in _SFT_PACKAGES))


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _database(path: Path) -> Finding:
    from store.database import open_database
    from store.datasets import dataset_names

    if not path.exists():
        return Finding("database", "ok", f"{path} (made when first needed)")
    try:
        db = open_database(path)
    except StoreError as error:
        return Finding("database", "missing", str(error))
    names = dataset_names(db)
    db.close()
    return Finding("database", "ok", f"{path} ({path.stat().st_size / 1e6:,.1f} MB, {len(names)} datasets)")


def _llama() -> Iterator[Finding]:
    from models.embedded import embedded_student

    try:
        path = embedded_student()
    except ModelError as error:
        yield Finding("embedded student", "missing", str(error))
    else:
        yield Finding("embedded student", "ok", f"{path} ({path.stat().st_size / 1e6:,.0f} MB)")
    try:
        from models.llama import can_use_gpu, system_features
        from models.threads import processors
    except (ImportError, OSError, RuntimeError) as error:
        yield Finding(
            "llama.cpp", "missing", f"cannot be loaded ({error}); pip install --force-reinstall llama-cpp-python"
        )
        return
    features = system_features()
    yield Finding("processor", "ok", f"{', '.join(features) or 'no vector extensions'}; {processors()} cores")
    if can_use_gpu():
        yield Finding("gpu", "ok", "llama.cpp was built with a GPU back end")
    else:
        advice = "llama.cpp runs on the processor; for CUDA: CMAKE_ARGS=-DGGML_CUDA=on pip install llama-cpp-python"
        yield Finding("gpu", "optional", advice)
