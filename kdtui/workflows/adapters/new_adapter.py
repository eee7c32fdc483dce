"""Named adapters that the program stores in its own folder."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from kdtui.errors import KdtuiError
from kdtui.workflows.kept_sums import keep_sum
from kdtui.workflows.manage_models import checked_free_name
from models.files.whole_files import new_folder
from store.models import NamedModel, add_model

if TYPE_CHECKING:
    from store.sqlite import Database


_COPIED = "copied from "


def copied_from(folder: Path) -> str:
    """Describe for users where a copied adapter comes from; `is_copied` recognizes it."""
    return f"{_COPIED}{folder}"


def is_copied(model: NamedModel) -> bool:
    """Return whether an adapter was copied from elsewhere, rather than made by a training or a merge of this store."""
    return model.source.startswith(_COPIED)


def free_adapter_name(db: "Database", name: str, folder: Path) -> str:
    """Return the name, if an adapter can have it.

    Args:
        folder: of the models that the program makes.

    Raises:
        KdtuiError: it cannot.
    """
    if name == "none":
        raise KdtuiError(
            "'none' cannot be the name of an adapter, since --adapter none means no adapter; choose another --name"
        )
    checked_free_name(db, name)
    if (folder / name).exists():
        raise KdtuiError(
            f"{folder / name}: there is a folder of this name already; choose another --name, or delete it"
        )
    return name


@contextmanager
def new_adapter(db: "Database", name: str, folder: Path, source: str) -> Iterator[Path]:
    """Provide a folder for the files of an adapter, among them `NAME.gguf`.

    The adapter is named at the end. After an error, the folder is deleted.

    Args:
        name: one that `free_adapter_name` has found free.
        source: where the adapter comes from, for users.

    Raises:
        KdtuiError: it cannot be written.
        StoreError: the name has been taken meanwhile.
    """
    target = folder / name
    try:
        with new_folder(target, mode=0o700) as part:
            yield part
            keep_sum(part / f"{name}.gguf")
    except OSError as error:
        raise KdtuiError(f"{target}: {error.strerror}; nothing was kept") from error
    try:
        add_model(db, NamedModel(name, target / f"{name}.gguf", source, made=True, kind="adapter"))
    except BaseException:
        # Nothing else knows the folder, and it would block the next attempt.
        shutil.rmtree(target, ignore_errors=True)
        raise
