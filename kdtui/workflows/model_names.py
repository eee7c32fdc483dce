"""How a model is named: as the embedded student, by a name that was given to it, by its file, or by its address."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from kdtui.errors import KdtuiError
from models import embedded

if TYPE_CHECKING:
    from store.records import RunSettings
    from store.sqlite import Database

PATTERNS = "patterns"
"""The name of the student that needs no weights."""

ROUTED = "routed:"
"""What the name of a router begins with where an adapter is named."""

RESERVED = (embedded.SHIPPED, embedded.NAME, PATTERNS)
"""Students that come with the program."""


def is_endpoint(student: str) -> bool:
    """Whether a student is named by the address of an OpenAI-compatible endpoint, `http://HOST/v1#MODEL`."""
    return student.startswith(("http://", "https://"))


def router_in(settings: "RunSettings") -> str | None:
    """The name of the router that chooses the adapter, where one does."""
    names = [adapter for adapter, _ in settings.adapters if adapter.startswith(ROUTED)]
    return names[0].removeprefix(ROUTED) if names else None


def why_uncalibrated(student: str) -> str | None:
    """Why there is no strategy to choose for a student; None where there is."""
    if student == PATTERNS:
        return "the pattern student is calibrated whenever it learns; choose another student"
    if student == embedded.SHIPPED:
        return (
            "the shipped student names the bundles of the pattern student, which is calibrated whenever it learns; "
            "choose another student"
        )
    if is_endpoint(student):
        return "an endpoint answers in its own way, so there is no strategy to choose"
    return None


def is_file(student: str) -> bool:
    """Whether a student is named by its file; the others have names, or addresses."""
    if student in (*RESERVED, embedded.ENCODER) or is_endpoint(student) or student.startswith(ROUTED):
        return False
    return student.endswith(".gguf") or Path(student).name != student or Path(student).is_file()


def absolute_name(model: str) -> str:
    """The same model, to be found from any folder."""
    return str(Path(model).resolve()) if is_file(model) else model


def located_model(db: "Database | None", model: str) -> Path:
    """The GGUF file of a language model that is here.

    Raises:
        KdtuiError: there is no model of that name.
    """
    if model == embedded.NAME:
        return embedded.embedded_student()
    if model == embedded.SHIPPED:
        raise KdtuiError(f"{model} is {embedded.NAME} with an adapter; here a model without one is needed")
    if model == embedded.ENCODER:
        raise KdtuiError(f"{model} is a sentence encoder: it makes vectors (kdtui data embed), and answers nothing")
    if is_file(model):
        return Path(model)
    from store.models import named_models

    known = {each.name: each.path for each in named_models(db) if each.kind == "base"} if db is not None else {}
    if model not in known:
        from store.similar import suggestion

        names = [*RESERVED, *known]
        there_are = f"there are: {', '.join(names)}, files ending in .gguf, and endpoints"
        raise KdtuiError(f"there is no student {model!r}; {suggestion(model, names, there_are)}")
    return known[model]


def check_student(db: "Database", student: str) -> None:
    """Refuse a student that is not here.

    Raises:
        KdtuiError: there is none of that name, or no such file.
    """
    if student not in RESERVED and not located_model(db, student).is_file():
        raise KdtuiError(f"{student}: there is no such file")


def check_address(student: str) -> None:
    """Refuse an address that cannot be one of an endpoint, or that holds a secret: it is stored and shown.

    Raises:
        KdtuiError: it is refused.
    """
    try:
        parts = urlsplit(student)
        usable = bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if "@" in student.partition("#")[0] or "?" in student.partition("#")[0]:
        raise KdtuiError("a key has no place in the address of an endpoint; put it into OPENAI_API_KEY")
    if not usable or not student.isprintable():
        raise KdtuiError(f"{student!r} is no address of an endpoint; it looks like http://HOST:PORT/v1#MODEL")


def trainable(db: "Database", base: str) -> str:
    """The base of a training: the file of a model that is here, or a folder or an id of transformers as it is.

    Raises:
        KdtuiError: there is no such model.
    """
    from store.models import named_models

    check_base(base, [embedded.NAME, *(each.name for each in named_models(db) if each.kind == "base")])
    if Path(base).is_dir():
        return str(Path(base).resolve())
    if _is_id(base):
        return base
    path = located_model(db, base)
    if not path.is_file():
        raise KdtuiError(f"{base}: there is no such file")
    return str(path.resolve())


def check_base(base: str, names: Sequence[str]) -> None:
    """Refuse what no training can begin with, as far as its name tells.

    Args:
        names: of the bases that there are.

    Raises:
        KdtuiError: it is refused.
    """
    if base in names:
        return
    if base in RESERVED or is_endpoint(base):
        raise KdtuiError(f"{base} is a student that cannot be trained; choose a base: {', '.join(names)}")
    if base == embedded.ENCODER:
        raise KdtuiError(f"{base} is a sentence encoder that cannot be trained; choose a base: {', '.join(names)}")
    # Whether there is a model of transformers of that id is known to the host that trains.
    if Path(base).is_dir() or Path(base).is_file() or _is_id(base):
        return
    if is_file(base):
        raise KdtuiError(f"{base}: there is no such file")
    from store.similar import suggestion

    there_are = f"there are: {', '.join(names)}, files, and ids of transformers (OWNER/NAME)"
    raise KdtuiError(f"there is no base {base!r}; {suggestion(base, names, there_are)}")


def _is_id(base: str) -> bool:
    return len(Path(base).parts) == 2 and not Path(base).exists() and not base.endswith(".gguf")
