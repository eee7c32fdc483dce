"""A key is nowhere in what the app shows, copies, logs or writes."""

from pathlib import Path

import pytest

from tests.support.acting import act
from tests.support.distill_place import app_with, begin_paid, dialog, ended, endpoint, panel
from tests.support.fake_chat_server import Serve
from tests.support.screens import Settle, Until, messages
from tests.support.secrets import KEY, files_with_secrets, refusing_first


async def test_a_key_is_in_nothing_that_the_app_shows_or_writes(
    demo_store: Path, serve: Serve, settle: Settle, until: Until, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MARKED_KEY", KEY)
    url, fake = serve(refusing_first)
    app = app_with(demo_store, **endpoint(url, key="MARKED_KEY"))
    shown = []
    async with app.run_test(size=(120, 40)) as pilot:
        await begin_paid(pilot, settle, until)
        await until(pilot, lambda: ended(app))
        assert "refuses the key in the variable MARKED_KEY" in panel(app)
        shown += [panel(app), messages(app), app.export_screenshot()]
        await begin_paid(pilot, settle, until)
        await until(pilot, lambda: ended(app))
        await settle(pilot)
        assert "✓ done" in panel(app)
        shown += [panel(app), messages(app), app.export_screenshot(), app.clipboard]
        await act(pilot, "app.messages")
        await settle(pilot)
        shown.append(dialog(app))
    assert {asked["authorization"] for asked in fake.asked} == {f"Bearer {KEY}"}
    assert not [text for text in shown if KEY in str(text)]
    assert files_with_secrets(tmp_path) == []
