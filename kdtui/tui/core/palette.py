"""The command palette: all that can be done, here and in other places, and all that has a name in the store."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from heapq import nlargest
from typing import cast

from textual.await_complete import AwaitComplete
from textual.command import CommandPalette, DiscoveryHit, Hit, Hits, Matcher, Provider
from textual.content import Content
from textual.markup import escape
from textual.worker import Worker, WorkerError

from kdtui.text import one_line
from kdtui.tui.action import PLACES
from kdtui.tui.actions import ACTIONS, PLACE_OF_SCREEN
from kdtui.tui.core.elsewhere import do_elsewhere, method_of
from kdtui.tui.core.screen import ActionScreen
from kdtui.tui.core.services import Services
from kdtui.tui.core.store_names import Named, names_in
from kdtui.tui.core.store_worker import ask_store

_MOST = 50
"""Things of the store that are listed: those that match best."""

_AT_ONCE = 20
"""Things that are matched before the screen has its turn again."""

_BY_PURPOSE, _ELSEWHERE, _NAMED = 0.5, 0.9, 0.8
"""What a match counts by words of what a command is for, of a command of another place, and of a name in the store."""


@dataclass(frozen=True, slots=True)
class Command:
    """Something that can be chosen.

    Attributes:
        title, purpose: what it is looked for by.
        why_not: why it cannot be done now; empty where it can.
        weight: how much a match counts.
    """

    title: str
    purpose: str
    why_not: str
    run: Callable[[], object]
    weight: float = 1.0

    @property
    def words(self) -> str:
        """What it is looked for by, word by word."""
        return f"{self.title} {self.purpose}".casefold()

    @property
    def help(self) -> str:
        """What is shown below the title."""
        return escape(one_line(f"{self.purpose} (not now: {self.why_not})" if self.why_not else self.purpose, 300))


class Palette(CommandPalette, ActionScreen[None]):
    """The command palette."""

    def __init__(self) -> None:
        super().__init__(placeholder="Commands, datasets, runs, samples, models, trainings, studies…")

    def dismiss(self, result: None = None) -> AwaitComplete:
        """Leave it, and end its search, which would look for a list that is gone."""
        self.workers.cancel_node(self)
        return super().dismiss(result)

    def _gather_commands(self, search_value: str) -> None:  # type: ignore[override]
        # What was typed before it was left may come after that.
        if self.is_active:
            super()._gather_commands(search_value)


class PaletteSource(Provider):
    """Finds commands by their names and by what they are for, and what the store has by its names."""

    _names: "Worker[list[Named]]"

    @property
    def _kdtui(self) -> Services:
        return cast("Services", self.app)

    async def startup(self) -> None:
        """Have the names read while somebody types."""
        self._names = self.screen.run_worker(
            partial(ask_store, self._kdtui.database, names_in),
            thread=True,
            exclusive=True,
            group="names",
            name="names",
            exit_on_error=False,
        )

    async def discover(self) -> Hits:
        """All commands, those of this place first."""
        for command in self._commands():
            yield DiscoveryHit(Content(command.title), command.run, command.title, command.help)

    async def search(self, query: str) -> Hits:
        """What matches."""
        matcher = self.matcher(query)
        async for command, score in _matching(matcher, self._commands()):
            yield _hit(matcher, command, score)
        names = [self._to_command(name) for name in await self._known_names()]
        found = [(score, number) async for number, score in _numbered(matcher, names)]
        for score, number in nlargest(_MOST, found):
            yield _hit(matcher, names[number], score)

    def _commands(self) -> list[Command]:
        here = [
            Command(title, *_split(about), run) for title, about, run, _ in self.app.get_system_commands(self.screen)
        ]
        known = {command.purpose for command in here}
        return [*sorted(here, key=lambda command: command.title), *self._of_other_places(known)]

    def _of_other_places(self, known: set[str]) -> Iterator[Command]:
        app = self._kdtui
        for action in ACTIONS:
            place = PLACE_OF_SCREEN.get(action.place)
            # What only leaves something, or leads back from it, is for who is there.
            if place is None or action.keys == "escape" or action.purpose in known:
                continue
            screen = app.places.get(place) if action.place in (place, "training", "study") else None
            why = ""
            if isinstance(screen, ActionScreen) and screen.is_mounted:
                if screen.check_action(method_of(action), ()) is False:
                    continue
                why = screen.why_not(method_of(action)) or ""
            title = f"{PLACES[place][0]}: {action.label}"
            yield Command(title, action.purpose, why, partial(do_elsewhere, app, place, action), _ELSEWHERE)

    def _to_command(self, name: Named) -> Command:
        go = partial(self._kdtui.show_in_place, name.place, name.key)
        return Command(one_line(name.title, 150), one_line(name.about, 150), "", go, _NAMED)

    async def _known_names(self) -> list[Named]:
        # Whose search is given up still leaves the names for the next.
        with suppress(WorkerError):
            return await asyncio.shield(self._names.wait())
        return []


def _split(about: str) -> tuple[str, str]:
    """What a command is for, and why it cannot be done."""
    purpose, _, why = about.partition(" (not now: ")
    return purpose, why.removesuffix(")")


async def _matching(matcher: Matcher, commands: list[Command]) -> AsyncIterator[tuple[Command, float]]:
    async for number, score in _numbered(matcher, commands):
        yield commands[number], score


async def _numbered(matcher: Matcher, commands: list[Command]) -> AsyncIterator[tuple[int, float]]:
    """The places of those that match, each with how well."""
    words = matcher.query.casefold().split()
    for number, command in enumerate(commands):
        if number % _AT_ONCE == _AT_ONCE - 1:
            await asyncio.sleep(0)
        # Letters that are scattered over a whole sentence mean nothing.
        score = matcher.match(command.title) or _BY_PURPOSE * all(word in command.words for word in words)
        if score > 0:
            yield number, score * command.weight


def _hit(matcher: Matcher, command: Command, score: float) -> Hit:
    # Textual's own takes names for markup.
    shown = Content(command.title)
    for offset in matcher.fuzzy_search.match(matcher.query, command.title)[1]:
        shown = shown.stylize(matcher.match_style, offset, offset + 1)
    return Hit(score, shown, command.run, command.title, command.help)
