"""A router is chosen like an adapter, and the session shows its choice and the reason."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
from textual.widgets import Select, Static

from kdtui.distill.routing import fit_router, make_router
from kdtui.tui.app import KdtuiApp
from kdtui.tui.core.dialogs import TextDialog
from kdtui.tui.core.forms import FormDialog
from kdtui.workflows.adapters.routers import routes_of
from store.database import open_database
from store.models import NamedModel, add_model
from store.records import RunSettings
from store.routers import save_router
from tests.support.acting import act, rest
from tests.support.screens import Settle, Until
from tests.support.tiny import make_adapter, make_model


def with_router(store: Path, folder: Path) -> None:
    """A router that always takes the first of two adapters of a tiny model."""
    db = open_database(store)
    add_model(db, NamedModel("tiny", make_model(folder / "tiny.gguf"), "a test", made=False))
    for seed, name in enumerate(("one", "two"), start=1):
        path = make_adapter(folder / f"{name}.gguf", seed=seed)
        add_model(db, NamedModel(name, path, "a test", made=False, kind="adapter"))
    fitted = fit_router(np.zeros((2, 1)), np.array([[1.0, 0.0], [1.0, 0.0]]))
    router = make_router(fitted, routes_of(db, ["one", "two"]), ["ln(products)"], {}, ["demo-outdoor"], 2)
    save_router(db, "both", msgspec.json.encode(router).decode())
    db.close()


@pytest.mark.slow
async def test_a_router_is_chosen_in_the_form_and_its_choice_is_explained(
    demo_store: Path, tmp_path: Path, settle: Settle, until: Until
) -> None:
    with_router(demo_store, tmp_path)
    app = KdtuiApp(demo_store)
    async with app.run_test(size=(100, 30)) as pilot:
        await settle(pilot)
        await act(pilot, "app.workbench")
        await settle(pilot)
        await pilot.press("enter")
        await settle(pilot)
        await pilot.press("s")
        await settle(pilot)
        assert isinstance(app.screen, FormDialog)
        app.screen.query_one("#field-adapter", Select).value = "routed:both"
        await rest(pilot)
        command = str(app.screen.query_one("#dialog-command", Static).content)
        assert command.endswith("--student tiny --adapter routed:both --knowledge none")
        await pilot.press("ctrl+s")
        await settle(pilot)
        assert app.choice.settings == RunSettings("tiny", adapters=(("routed:both", 1.0),))
        await pilot.press("w")
        await until(pilot, lambda: isinstance(app.screen, TextDialog))
        await settle(pilot)
        text = " ".join(str(each.content) for each in app.screen.query(Static))
        assert "The router both chose: answered with one, the best on average of 2" in " ".join(text.split())
