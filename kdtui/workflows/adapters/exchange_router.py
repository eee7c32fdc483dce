"""Export a router to a folder with a folder for each of its adapters, and import it from one.

`router.json` can be read and edited by anyone. It names no base and no file of this machine: the folder of each adapter
says how it is asked.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct
from msgspec.structs import replace as replaced

from kdtui.distill.routing import Route, Router, ValidationScore, features_problem
from kdtui.errors import BadFile, KdtuiError
from kdtui.exchange.adapter_card import CARD, RouterFacts, router_card
from kdtui.text import counted
from kdtui.workflows.adapters.export import check_target, export_adapter
from kdtui.workflows.adapters.import_adapter import import_adapter
from kdtui.workflows.adapters.routers import METHODS, routes_of
from kdtui.workflows.manage_models import checked_name, remove_model, slug, unused_name
from kdtui.workflows.model_names import ROUTED, is_file
from kdtui.workflows.student.routed import load_router
from models.adapters.folder import SUMS
from models.errors import ModelError
from models.files.hashing import file_sha256
from models.files.whole_files import new_folder, write_whole
from store.routers import check_router_name, save_router

if TYPE_CHECKING:
    from store.sqlite import Database

ROUTER = "router.json"

_KIND = "router"

_LARGEST = 2**22
"""Bytes of a router at most: a thousand numbers for each dataset, and a dozen for each adapter."""

_MOST_ROUTES = 100

_MOST_SCORES = _MOST_ROUTES + 10
"""Of each route, of the router, and of the methods that it is compared with."""


class SharedRoute(Struct, frozen=True, forbid_unknown_fields=True):
    """A route as it is in a file; see `Route`.

    Attributes:
        folder: of its adapter, next to the file.
    """

    name: str
    folder: str
    score: float
    bias: float
    weights: dict[str, float]


class SharedRouter(Struct, frozen=True, forbid_unknown_fields=True):
    """A router as it is in a file; see `Router`."""

    kind: str
    routes: list[SharedRoute]
    mean: dict[str, float]
    spread: dict[str, float]
    centres: dict[str, list[float]]
    datasets: list[str]
    sessions: int
    penalty: float | None
    validation: list[ValidationScore] = []


@dataclass(frozen=True, slots=True)
class RouterCopied:
    """A router that was exported or imported.

    Attributes:
        in_words: what was done, as a sentence without a full stop.
        notes: what the user should know about its adapters, each a sentence without a full stop.
    """

    in_words: str
    notes: tuple[str, ...]


def export_router(
    db: "Database",
    name: str,
    folder: Path,
    *,
    licence: str | None = None,
    base: str | None = None,
    replace: bool = False,
) -> RouterCopied:
    """Write a router with its adapters into a folder, completely or not at all; otherwise like `export_adapter`.

    Raises:
        NotFound: there is no such router.
        KdtuiError: one of its adapters is gone, or the folder cannot be written.
        ModelError: the files of an adapter cannot be read.
    """
    router = load_router(db, name)
    target = _check_target(folder, replace=replace)
    notes: dict[str, None] = {}
    names = _names_without_paths(router)
    routes = []
    try:
        with new_folder(target, replace=replace) as part:
            for number, route in enumerate(router.routes, start=1):
                # Different names can have the same slug.
                inside = f"{number}-{slug(names[route.name])}"
                [(adapter, _)] = route.settings.adapters
                made = export_adapter(db, adapter, part / inside, licence=licence, base=base)
                public = made.base
                if made.note is not None:
                    notes[made.note] = None
                routes.append(SharedRoute(names[route.name], inside, route.score, route.bias, route.weights))
            validation = [replaced(each, name=names.get(each.name, each.name)) for each in router.validation]
            shared = SharedRouter(
                _KIND,
                routes,
                router.mean,
                router.spread,
                {dataset: list(centre) for dataset, centre in router.centres.items()},
                list(router.datasets),
                router.sessions,
                router.penalty,
                validation,
            )
            content = json.dumps(msgspec.to_builtins(shared), ensure_ascii=False, indent=1)
            write_whole(part / ROUTER, content + "\n")
            write_whole(part / CARD, router_card(_about(name, router, shared, public, licence)))
            write_whole(part / SUMS, "".join(f"{file_sha256(part / each)}  {each}\n" for each in (CARD, ROUTER)))
    except OSError as error:
        raise BadFile(folder, f"{error.strerror}; nothing was written") from error
    adapters = counted(len(routes), "adapter")
    return RouterCopied(f"exported router {name} to {folder}, with {adapters}", tuple(notes))


def is_router(folder: Path) -> bool:
    """Return whether a folder holds a router."""
    return (folder / ROUTER).is_file()


def import_router(db: "Database", folder: Path, name: str | None, models: Path) -> RouterCopied:
    """Check and copy a router with its adapters from a folder, or copy nothing; otherwise like `import_adapter`.

    Raises:
        StoreError: there is a router of that name.
        KdtuiError: the name cannot be used, or the base of its adapters is not on this machine.
        ModelError: the folder holds no router, or an adapter that is damaged, unsafe, or not for its base.
    """
    name = checked_name(name or slug(folder.resolve().name))
    check_router_name(db, name)
    shared = _read(folder / ROUTER)
    notes: dict[str, None] = {}
    imported: list[str] = []
    with _all_or_nothing(db, imported):
        for route, adapter in zip(shared.routes, _adapter_names(name, shared.routes), strict=True):
            inside = folder / route.folder
            if inside.is_symlink() or not inside.is_dir():
                raise ModelError(f"{inside}: there is no such folder, with the adapter of route {route.name!r}")
            copied = import_adapter(db, inside, adapter, models)
            imported.append(copied.model.name)
            if copied.missing is not None:
                base = copied.missing
                raise KdtuiError(f"the base of its adapters, {base}, is missing; add it with: kdtui model add FILE")
            if copied.note is not None:
                notes[f"{copied.model.name}: {copied.note}"] = None
        settings = [asked for _, asked in routes_of(db, imported)]
        router = Router(
            tuple(
                Route(route.name, asked, route.score, route.bias, route.weights)
                for route, asked in zip(shared.routes, settings, strict=True)
            ),
            shared.mean,
            shared.spread,
            {dataset: tuple(centre) for dataset, centre in shared.centres.items()},
            tuple(shared.datasets),
            shared.sessions,
            shared.penalty,
            tuple(shared.validation),
        )
        save_router(db, name, msgspec.json.encode(router).decode())
    adapters = counted(len(imported), "adapter")
    return RouterCopied(
        f"{name} is a router, copied with {adapters}; use it with: --adapter {ROUTED}{name}", tuple(notes)
    )


def _names_without_paths(router: Router) -> dict[str, str]:
    """Return the name of each route in an export: a route that is named by its file is named by the stem there."""
    names = {route.name: route.name for route in router.routes if not is_file(route.name)}
    for route in router.routes:
        if route.name not in names:
            names[route.name] = unused_name(Path(route.name).stem, [*METHODS, *names.values()])
    return names


def _adapter_names(router: str, routes: Iterable[SharedRoute]) -> list[str]:
    """Return a name for the adapter of each route. Different names of routes can have the same slug."""
    names: list[str] = []
    for route in routes:
        names.append(unused_name(f"{router}-{slug(route.name)}", names))
    return names


def _about(name: str, router: Router, shared: SharedRouter, base: str, licence: str | None) -> RouterFacts:
    return RouterFacts(
        name,
        base,
        licence,
        tuple((route.name, route.folder, route.score) for route in shared.routes),
        tuple((each.name, each.mean, each.low, each.high) for each in shared.validation),
        router.datasets,
        router.sessions,
        router.why_constant,
    )


def _read(path: Path) -> SharedRouter:
    """Read a router from an untrusted file.

    Raises:
        ModelError: it is not a router, or its numbers cannot be used.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror}") from error
    if len(content) > _LARGEST:
        raise ModelError(f"{path}: it is larger than a router can be ({_LARGEST / 1e6:.0f} MB)")
    try:
        router = msgspec.json.decode(content, type=SharedRouter)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise ModelError(f"{path}: this is not a router: {error}") from error
    if (problem := _problem(router)) is not None:
        raise ModelError(f"{path}: {problem}")
    return router


def _problem(router: SharedRouter) -> str | None:
    """Return why a router cannot be used; None if it can."""
    names = [route.name for route in router.routes]
    folders = [route.folder for route in router.routes]
    if router.kind != _KIND:
        return f"this is not a router, but {router.kind!r}"
    if not 1 < len(names) <= _MOST_ROUTES or len({*names}) < len(names) or len({*folders}) < len(folders):
        return f"a router has two to {_MOST_ROUTES} routes, each with a name and a folder of its own"
    for inside in folders:
        if Path(inside).name != inside or inside in (".", "..") or not inside.isprintable():
            return f"{inside!r} is not a folder next to it"
    numbers = [*router.mean.values(), *router.spread.values(), *_numbers(router)]
    if not all(map(isfinite, numbers)):
        return "it has numbers that are infinite"
    if len(router.validation) > _MOST_SCORES:
        return f"it has more than {_MOST_SCORES} scores"
    if not all(0 <= each.low <= each.high <= 1 and 0 <= each.mean <= 1 for each in router.validation):
        return "a score and its interval are between 0 and 1"
    weights = [route.weights for route in router.routes]
    return features_problem(router.mean, router.spread, weights, router.centres)


def _numbers(router: SharedRouter) -> Iterator[float]:
    for route in router.routes:
        yield from (route.score, route.bias, *route.weights.values())
    for centre in router.centres.values():
        yield from centre
    for scored in router.validation:
        yield from (scored.mean, scored.low, scored.high)


@contextmanager
def _all_or_nothing(db: "Database", imported: list[str]) -> Iterator[None]:
    """Delete the adapters that were copied if the others cannot be."""
    try:
        yield
    except BaseException:
        for adapter in imported:
            remove_model(db, adapter)
        raise


def _check_target(folder: Path, *, replace: bool) -> Path:
    """Return the folder for a router, if it can be written.

    Raises:
        BadFile: it holds something else.
    """
    target = folder.resolve()
    if not target.exists() or not replace or not is_router(target):
        return check_target(folder, replace=replace)
    try:
        known = {ROUTER, CARD, SUMS, *(route.folder for route in _read(target / ROUTER).routes)}
    except ModelError as error:
        raise BadFile(folder, f"it holds no exported router ({error}); choose another folder") from error
    for path in sorted(target.iterdir()):
        if path.name not in known:
            raise BadFile(
                folder, f"next to a router it holds {path.name!r}, which would be lost; choose another folder"
            )
        if path.is_dir():
            check_target(path, replace=True)
    return target
