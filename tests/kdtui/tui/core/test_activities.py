"""Activities: work in the background, and where its messages go."""

from collections.abc import Iterator
from pathlib import Path
from threading import ExceptHookArgs

import pytest
from textual.message import Message
from textual.types import NoActiveAppError

from kdtui.tui.core.activity import Activity
from store.sqlite import Database


def test_an_activity_that_outlives_the_app_ends_without_a_traceback(
    empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[int] = []

    def work(_db: Database) -> Iterator[object]:
        for step in range(3):
            steps.append(step)
            yield step

    def closed(_message: Message) -> None:
        raise NoActiveAppError

    faults: list[ExceptHookArgs] = []
    monkeypatch.setattr("threading.excepthook", faults.append)
    activity = Activity("mine", empty_store, work, closed)
    activity.start()
    activity.thread.join()
    assert steps == [0, 1, 2]
    assert faults == []
