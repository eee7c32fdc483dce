"""Models by name, with the paths of their files."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from store.database import now
from store.errors import NotFound, StoreError
from store.similar import suggestion
from store.sqlite import Database


@dataclass(frozen=True, slots=True)
class NamedModel:
    """A model with a name.

    Attributes:
        path: its GGUF file.
        source: a file, a repository, or another model and its quantization.
        made: whether the program owns the file and deletes it along with the name.
        kind: a base, or an adapter that modifies one.
    """

    name: str
    path: Path
    source: str
    made: bool
    kind: Literal["base", "adapter"] = "base"


def add_model(db: Database, model: NamedModel) -> None:
    """Give a model a name.

    Raises:
        StoreError: the name is taken.
    """
    with db.atomic():
        if db.execute("SELECT 1 FROM models WHERE name = ?", [model.name]).fetchone():
            raise StoreError(
                f"there is a model {model.name!r} already; choose another --name, or kdtui model rm {model.name}"
            )
        db.execute(
            "INSERT INTO models (name, path, source, made, kind, created_at) VALUES (?, ?, ?, ?, ?, ?)",
            [model.name, str(model.path), model.source, int(model.made), model.kind, now()],
        )


def named_models(db: Database) -> list[NamedModel]:
    """List all named models by name."""
    rows = db.execute("SELECT name, path, source, made, kind FROM models ORDER BY name").fetchall()
    models = [NamedModel(*row) for row in rows]
    return [replace(each, path=Path(each.path), made=bool(each.made)) for each in models]


def named_model(db: Database, name: str) -> NamedModel:
    """Return the model with this name.

    Raises:
        NotFound: there is no such model.
    """
    for model in named_models(db):
        if model.name == name:
            return model
    names = (model.name for model in named_models(db))
    raise NotFound(f"there is no model {name!r}; {suggestion(name, names, 'kdtui model ls lists the models')}")


def named_since(db: Database, name: str) -> str | None:
    """Return when a model got its name; None if there is no such model."""
    row = db.execute("SELECT created_at FROM models WHERE name = ?", [name]).fetchone()
    return None if row is None else str(row[0])


def forget_model(db: Database, name: str) -> None:
    """Remove a name.

    Raises:
        NotFound: there is no such model.
    """
    named_model(db, name)
    with db.atomic():
        db.execute("DELETE FROM models WHERE name = ?", [name])
