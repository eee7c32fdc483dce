"""The command palette: the actions of this screen and of other places, and everything in the store with a name."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from heapq import nlargest
from typing import cast

from textual.await_complete import AwaitComplete
from textual.command import Command, CommandList, CommandPalette, DiscoveryHit, Hit, Hits, Matcher, Provider
from textual.content import Content
from textual.markup import escape
from textual.worker import Worker, WorkerError

from kdtui.text import one_line
from kdtui.tui.action import PLACES
from kdtui.tui.actions import ACTIONS, PLACE_OF_SCOPE
from kdtui.tui.core.remote_action import method_of, run_in_place
from kdtui.tui.core.screen import ActionScreen
from kdtui.tui.core.services import Services
from kdtui.tui.core.store_names import StoreName, store_names
from kdtui.tui.core.store_worker import ask_store

_MOST_NAMES = 50
"""Names of the store that are listed: the best matches."""

_AT_ONCE = 20
"""Names that are matched before the event loop gets a turn."""

_PURPOSE_WEIGHT, _OTHER_PLACE_WEIGHT, _NAME_WEIGHT = 0.5, 0.9, 0.8
"""Weights of a match in the purpose, of a command of another place, and of a name in the store."""


@dataclass(frozen=True, slots=True)
class PaletteCommand:
    """A command that the palette offers.

    Attributes:
        title: found by a fuzzy match.
        purpose: found by its words.
        why_not: why it is not possible now; empty if it is.
        weight: the weight of a match.
    """

    title: str
    purpose: str
    why_not: str
    run: Callable[[], object]
    weight: float = 1.0

    @property
    def words(self) -> str:
        """The text that is searched word by word."""
        return f"{self.title} {self.purpose}".casefold()

    @property
    def help(self) -> str:
        """The line below the title."""
        return escape(one_line(f"{self.purpose} (not now: {self.why_not})" if self.why_not else self.purpose, 300))


class Palette(CommandPalette, ActionScreen[None]):
    """The command palette."""

    def __init__(self) -> None:
        super().__init__(placeholder="Commands, datasets, runs, samples, models, trainings, studies…")

    def dismiss(self, result: None = None) -> AwaitComplete:
        """Close the palette and cancel its search, which would query a list that is gone."""
        self.workers.cancel_node(self)
        return super().dismiss(result)

    def _gather_commands(self, search_value: str) -> None:  # type: ignore[override]
        # Keys from before the palette was closed can arrive later.
        if self.is_active:
            super()._gather_commands(search_value)

    def _refresh_command_list(self, command_list: CommandList, commands: list[Command], clear_current: bool) -> None:
        # Commands arrive in several parts. Textual goes back to the first one then, even if the user has moved.
        chosen = command_list.highlighted_option if command_list.highlighted and not clear_current else None
        super()._refresh_command_list(command_list, commands, clear_current)
        if chosen is not None and chosen.id is not None:
            command_list.highlighted = command_list.get_option_index(chosen.id)


class PaletteSource(Provider):
    """Finds commands by their names and purposes, and what is in the store by its names."""

    _names: "Worker[list[StoreName]]"

    @property
    def _kdtui(self) -> Services:
        return cast("Services", self.app)

    async def startup(self) -> None:
        """Read the names of the store while the user types."""
        self._names = self.screen.run_worker(
            partial(ask_store, self._kdtui.database, store_names),
            thread=True,
            exclusive=True,
            group="names",
            name="names",
            exit_on_error=False,
        )

    async def discover(self) -> Hits:
        """Yield all commands, those of this screen first."""
        for command in self._commands():
            yield DiscoveryHit(Content(command.title), command.run, command.title, command.help)

    async def search(self, query: str) -> Hits:
        """Yield the matching commands and names."""
        matcher = self.matcher(query)
        async for command, score in _matching(matcher, self._commands()):
            yield _hit(matcher, command, score)
        names = [self._to_command(name) for name in await self._known_names()]
        matches = [(score, number) async for number, score in _numbered(matcher, names)]
        for score, number in nlargest(_MOST_NAMES, matches):
            yield _hit(matcher, names[number], score)

    def _commands(self) -> list[PaletteCommand]:
        own = [
            PaletteCommand(title, *_split(help), run)
            for title, help, run, _ in self.app.get_system_commands(self.screen)
        ]
        known = {command.purpose for command in own}
        return [*sorted(own, key=lambda command: command.title), *self._of_other_places(known)]

    def _of_other_places(self, known: set[str]) -> Iterator[PaletteCommand]:
        app = self._kdtui
        for action in ACTIONS:
            place = PLACE_OF_SCOPE.get(action.scope)
            # An action that only leaves a screen makes no sense elsewhere.
            if place is None or action.keys == "escape" or action.purpose in known:
                continue
            screen = app.places.get(place) if action.scope in (place, "training", "study") else None
            why = ""
            if isinstance(screen, ActionScreen) and screen.is_mounted:
                if screen.check_action(method_of(action), ()) is False:
                    continue
                why = screen.why_not(method_of(action)) or ""
            title = f"{PLACES[place][0]}: {action.label}"
            yield PaletteCommand(
                title, action.purpose, why, partial(run_in_place, app, place, action), _OTHER_PLACE_WEIGHT
            )

    def _to_command(self, name: StoreName) -> PaletteCommand:
        go = partial(self._kdtui.show_in_place, name.place, name.key)
        return PaletteCommand(one_line(name.title, 150), one_line(name.description, 150), "", go, _NAME_WEIGHT)

    async def _known_names(self) -> list[StoreName]:
        # A cancelled search leaves the names for the next one.
        with suppress(WorkerError):
            return await asyncio.shield(self._names.wait())
        return []


def _split(help: str) -> tuple[str, str]:
    """Return the purpose of a command, and why it is not possible now."""
    purpose, _, why = help.partition(" (not now: ")
    return purpose, why.removesuffix(")")


async def _matching(matcher: Matcher, commands: list[PaletteCommand]) -> AsyncIterator[tuple[PaletteCommand, float]]:
    async for number, score in _numbered(matcher, commands):
        yield commands[number], score


async def _numbered(matcher: Matcher, commands: list[PaletteCommand]) -> AsyncIterator[tuple[int, float]]:
    """Yield the indices of the matching commands with their scores."""
    words = matcher.query.casefold().split()
    for number, command in enumerate(commands):
        if number % _AT_ONCE == _AT_ONCE - 1:
            await asyncio.sleep(0)
        # A fuzzy match in a whole sentence would mean nothing.
        score = matcher.match(command.title) or _PURPOSE_WEIGHT * all(word in command.words for word in words)
        if score > 0:
            yield number, score * command.weight


def _hit(matcher: Matcher, command: PaletteCommand, score: float) -> Hit:
    # Textual's own hit would read names as markup.
    shown = Content(command.title)
    for offset in matcher.fuzzy_search.match(matcher.query, command.title)[1]:
        shown = shown.stylize(matcher.match_style, offset, offset + 1)
    return Hit(score, shown, command.run, command.title, command.help)
