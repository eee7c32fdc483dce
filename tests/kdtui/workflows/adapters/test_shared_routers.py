"""A router is exported to a folder with its adapters, and imported from one after checks."""

import json
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import msgspec
import numpy as np
import pytest

from kdtui.distill.routing import ValidationScore, fit_router, make_router
from kdtui.workflows.adapters.exchange_router import export_router
from kdtui.workflows.adapters.routers import routes_of
from kdtui.workflows.data.import_dataset import import_dataset
from store.database import open_database
from store.models import NamedModel, add_model
from store.routers import save_router
from tests.support.adapters import TRAINED, trained_adapter
from tests.support.commands import Kdtui

SCORE = {"name": "router", "mean": 0.6, "low": 0.5, "high": 0.7}
LISTS = {**TRAINED, "form": "list"}


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory, study_base: Path, data: Path) -> Path:
    """A store with a router `both` of two adapters, which takes small sessions to one and large ones to the other, and
    a folder `out` beside it, which it was exported to; both to be copied."""
    made = tmp_path_factory.mktemp("shared")
    db = open_database(made / "kdtui.db")
    list(import_dataset(db, data, "outdoor"))
    add_model(db, NamedModel("tiny", study_base, "a test", made=False))
    for seed, name in enumerate(("one", "two"), start=1):
        trained_adapter(db, made, name, study_base, seed, LISTS)
    # The logarithms of 5 to 10 products.
    sizes = np.linspace(1.6, 2.3, 40)[:, np.newaxis]
    large = sizes - sizes.mean()
    fitted = fit_router(sizes, np.hstack([0.5 - large / 2, 0.5 + large / 2]))
    scores = [ValidationScore("router", 0.61, 0.52, 0.7), ValidationScore("oracle", 0.7, 0.6, 0.8)]
    router = make_router(fitted, routes_of(db, ["one", "two"]), ["ln(products)"], {}, ["outdoor"], 40, scores)
    save_router(db, "both", msgspec.json.encode(router).decode())
    export_router(db, "both", made / "out", licence="apache-2.0")
    db.close()
    return made


@pytest.fixture
def folder(before: Path, database_of_the_test: Path, tmp_path: Path) -> Path:
    """The folder, beside a store of its own."""
    database_of_the_test.parent.mkdir(parents=True)
    shutil.copy(before / "kdtui.db", database_of_the_test)
    return Path(shutil.copytree(before / "out", tmp_path / "out"))


def test_the_folder_is_readable_and_names_nothing_of_this_machine(before: Path) -> None:
    folder = before / "out"
    assert {path.name for path in folder.iterdir()} == {"1-one", "2-two", "README.md", "SHA256SUMS", "router.json"}
    router = json.loads((folder / "router.json").read_text())
    assert [route["name"] for route in router["routes"]] == ["one", "two"]
    assert set(router["routes"][0]["weights"]) == {"ln(products)"}
    for path in folder.rglob("*"):
        if path.is_file():
            assert str(before).encode() not in path.read_bytes(), path
    card = (folder / "README.md").read_text()
    assert card.startswith("---\nbase_model: ")
    assert 'license: "apache-2.0"' in card
    assert "| `one` | `1-one` |" in card
    assert "| `oracle` | 0.700 | 0.600 to 0.800 |" in card
    assert "## Licence\n\napache-2.0." in card


@pytest.mark.slow
def test_an_imported_router_answers_like_the_exported_one(folder: Path, kdtui: Kdtui) -> None:
    added = kdtui("model", "add", folder, "--name", "given")
    assert added.code == 0, added.err
    assert "use it with: --adapter routed:given" in added.err
    names = {row["name"] for row in kdtui("model", "ls", "--json").rows}
    assert {"given-one", "given-two"} <= names
    sent, received = sorted(kdtui("router", "ls", "--json").rows, key=lambda row: row["name"])
    assert received["validation"] == sent["validation"] != []
    reasons = {}
    # Sessions of six and of nine products.
    for session in ("o02", "o13"):
        asked = ("generate", session, "--dataset", "outdoor", "--json", "--adapter")
        [sent], [received] = kdtui(*asked, "routed:both").rows, kdtui(*asked, "routed:given").rows
        assert received["bundles"] == sent["bundles"]
        assert received["adapter"] == sent["adapter"]
        reasons[sent["adapter"]["name"]] = sent["adapter"]["because"]
    # One of them is the best on average, which needs no reason.
    assert reasons.keys() == {"one", "two"}
    assert sum("ln(products)" in (reason or "") for reason in reasons.values()) == 1


def test_an_export_is_replaced_only_on_request_and_nothing_else_is_lost(folder: Path, kdtui: Kdtui) -> None:
    again = ("model", "export", "routed:both", "--output", folder, "--licence", "apache-2.0")
    assert "it exists already" in kdtui(*again).err
    result = kdtui(*again, "--replace")
    assert (result.code, result.out) == (0, ""), result.err
    assert "with 2 adapters" in result.err
    (folder / "mine.txt").write_text("notes")
    refused = kdtui(*again, "--replace")
    assert refused.code == 1
    assert "next to a router it holds 'mine.txt'" in refused.err
    (folder / "mine.txt").rename(folder / "1-one" / "mine.txt")
    assert "'mine.txt', which would be lost" in kdtui(*again, "--replace").err
    assert (folder / "1-one" / "mine.txt").read_text() == "notes"


@pytest.mark.usefixtures("folder")
def test_adapters_that_are_named_by_their_files_are_shared_without_their_folders(
    before: Path, database_of_the_test: Path, kdtui: Kdtui, tmp_path: Path
) -> None:
    paths = [str(before / "one" / "one.gguf"), str(tmp_path / "one.gguf")]
    shutil.copy(before / "two" / "two.gguf", paths[1])
    fitted = fit_router(np.zeros((2, 1)), np.array([[1.0, 0.0], [1.0, 0.0]]))
    scores = [ValidationScore(name, 0.6, 0.5, 0.7) for name in (*paths, "router")]
    with closing(open_database(database_of_the_test)) as db:
        router = make_router(fitted, routes_of(db, paths), ["ln(products)"], {}, ["outdoor"], 2, scores)
        save_router(db, "mine", msgspec.json.encode(router).decode())
    out = tmp_path / "shared"
    assert kdtui("model", "export", "routed:mine", "--output", out).code == 0
    shared = json.loads((out / "router.json").read_text())
    assert [route["name"] for route in shared["routes"]] == ["one", "one-2"]
    assert [each["name"] for each in shared["validation"]] == ["one", "one-2", "router"]
    assert {path.name for path in out.iterdir() if path.is_dir()} == {"1-one", "2-one-2"}
    for path in out.rglob("*"):
        for place in (before, tmp_path):
            assert path.is_dir() or str(place).encode() not in path.read_bytes(), path
    added = kdtui("model", "add", out, "--name", "given")
    assert added.code == 0, added.err
    assert {"given-one", "given-one-2"} <= {row["name"] for row in kdtui("model", "ls", "--json").rows}


def test_routes_with_similar_names_get_adapters_of_their_own(folder: Path, kdtui: Kdtui) -> None:
    routes = json.loads((folder / "router.json").read_text())["routes"]
    change(folder, routes=[routes[0] | {"name": "Rules.gguf"}, routes[1] | {"name": "rules"}])
    added = kdtui("model", "add", folder, "--name", "given")
    assert added.code == 0, added.err
    assert {"given-rules", "given-rules-2"} <= {row["name"] for row in kdtui("model", "ls", "--json").rows}


def change(folder: Path, **values: object) -> None:
    path = folder / "router.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def with_folder(folder: Path, name: str) -> None:
    routes = json.loads((folder / "router.json").read_text())["routes"]
    change(folder, routes=[routes[0] | {"folder": name}, routes[1]])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "router.json").write_bytes(b"\xff"), "this is not a router"),
        (lambda folder: (folder / "router.json").write_text("[" * 100_000), "this is not a router"),
        (lambda folder: (folder / "router.json").write_bytes(b" " * 5_000_000), "larger than a router can be"),
        (lambda folder: change(folder, kind="adapter"), "this is not a router, but 'adapter'"),
        (lambda folder: change(folder, more=1), "unknown field"),
        (lambda folder: change(folder, routes=[]), "two to 100 routes"),
        (lambda folder: change(folder, mean={}), "of different features"),
        (lambda folder: change(folder, spread={"ln(products)": 0}), "must be above 0"),
        (lambda folder: change(folder, centres={"a": [1.0] * 384, "b": [1, 2]}), "its centre of 'b' has 2 dimensions"),
        (lambda folder: change(folder, validation=[SCORE] * 111), "more than 110 scores"),
        (lambda folder: change(folder, validation=[SCORE | {"mean": 10**400}]), "this is not a router"),
        (lambda folder: change(folder, validation=[SCORE | {"mean": 1e308}]), "between 0 and 1"),
        (lambda folder: change(folder, validation=[SCORE | {"more": 1}]), "unknown field"),
        (lambda folder: with_folder(folder, ".."), "is not a folder next to it"),
        (lambda folder: with_folder(folder, "/etc"), "is not a folder next to it"),
        (lambda folder: with_folder(folder, "a/../.."), "is not a folder next to it"),
        (lambda folder: with_folder(folder, "3-gone"), "there is no such folder"),
        (lambda folder: shutil.rmtree(folder / "2-two"), "there is no such folder"),
        (lambda folder: (folder / "2-two" / "adapter_model.safetensors").write_bytes(b"cut"), "adapter_model"),
    ],
)
@pytest.mark.slow
def test_a_damaged_or_hostile_folder_is_refused_and_leaves_nothing(
    folder: Path, kdtui: Kdtui, damage: Callable[[Path], object], message: str
) -> None:
    damage(folder)
    before = [row["name"] for row in kdtui("model", "ls", "--json").rows]
    result = kdtui("model", "add", folder, "--name", "given")
    assert result.code == 1
    assert message in result.err
    assert [row["name"] for row in kdtui("model", "ls", "--json").rows] == before
    assert [row["name"] for row in kdtui("router", "ls", "--json").rows] == ["both"]


@pytest.mark.parametrize("name", ["size", "like nowhere"])
def test_a_router_with_a_feature_that_no_session_has_is_refused(folder: Path, kdtui: Kdtui, name: str) -> None:
    routes = json.loads((folder / "router.json").read_text())["routes"]
    change(folder, mean={name: 3}, spread={name: 1}, routes=[route | {"weights": {name: 1}} for route in routes])
    result = kdtui("model", "add", folder, "--name", "given")
    assert result.code == 1
    assert f"router.json: a session has no feature {name!r}" in result.err


@pytest.mark.parametrize("width", [2, 385])
def test_a_router_with_centres_of_another_encoder_is_refused(folder: Path, kdtui: Kdtui, width: int) -> None:
    change(folder, centres={"a": [0.5] * width, "b": [0.5] * width})
    result = kdtui("model", "add", folder, "--name", "given")
    assert result.code == 1
    assert f"router.json: its centre of 'a' has {width} dimensions, and must have 384" in result.err


def test_a_linked_folder_is_not_an_adapter(folder: Path, kdtui: Kdtui) -> None:
    (folder / "2-two").rename(folder.parent / "elsewhere")
    (folder / "2-two").symlink_to(folder.parent / "elsewhere")
    assert "there is no such folder" in kdtui("model", "add", folder).err


def test_a_taken_name_is_refused_before_anything_is_copied(folder: Path, kdtui: Kdtui) -> None:
    result = kdtui("model", "add", folder, "--name", "both")
    assert result.code == 1
    assert "there is a router 'both' already" in result.err
