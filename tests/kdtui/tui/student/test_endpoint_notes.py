"""The workbench says what a user should know of how an endpoint has to be asked."""

from pathlib import Path

from kdtui.tui.app import KdtuiApp
from store.records import RunSettings
from tests.support.acting import act
from tests.support.fake_chat_server import GOOD, Fake, Serve
from tests.support.screens import Settle, Until
from tests.support.session_place import heading


async def test_what_a_server_refuses_of_a_request_is_said_once(
    demo_store: Path, serve: Serve, settle: Settle, until: Until
) -> None:
    def modern(fake: Fake, _: int) -> None:
        if "temperature" in fake.body:
            fake.send({"error": {"message": "Unsupported value", "param": "temperature"}}, 400)
        else:
            fake.complete(GOOD)

    url, fake = serve(modern)
    app = KdtuiApp(demo_store, RunSettings(f"{url}#m"))
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await act(pilot, "app.workbench")
        await settle(pilot)
        await pilot.press("enter")
        await settle(pilot)
        for asked in (2, 3):
            await act(pilot, "session.generate")
            await until(pilot, lambda asked=asked: len(fake.asked) == asked)  # type: ignore[misc]
            # Until then, the next one is not begun.
            await until(pilot, lambda: "done in" in heading(app))
        said = [note.message for note in app._notifications if "it is asked without a temperature" in note.message]
        assert len(said) == 1
