"""One trial: a command is disturbed, run again, and its result compared with that of an undisturbed run."""

import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faults.commands import DisturbedCommand, Site
from tests.faults.contents import Contents, contents, damage, differences, lost, pieces, work_done
from tests.faults.failing_calls import ERRORS, FailingCall
from tests.faults.forks import Ended, Forks
from tests.faults.moody_server import MoodyServer
from tests.support.fake_chat_server import Serve

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT)

_LOOKS = (("data", "ls"), ("knowledge", "ls"), ("run", "ls"), ("doctor",))
"""Commands that read a database."""

_OF_TRAINERS = SIGNALS[:2]
"""A trainer has a session of its own, so that no terminal interrupts it."""


@dataclass(frozen=True)
class Undisturbed:
    """A run without faults.

    Attributes:
        pieces: the knowledge in the store afterwards.
        calls: the number of calls to the file system that can fail.
    """

    result: object
    pieces: Contents
    seconds: float
    calls: int


@dataclass(frozen=True)
class Trial:
    """What became of a disturbed command.

    Attributes:
        losses: what was lost, doubled or damaged, a sentence each.
    """

    command: str
    fault: str
    seed: int
    losses: Sequence[str]


class Bench:
    """The site of one command, of which each trial gets a copy, and the process that runs it.

    Attributes:
        server: the model that the command asks, if it asks one.
    """

    def __init__(self, command: DisturbedCommand, folder: Path, forks: Forks, serve: Serve) -> None:
        self.command, self.forks, self._folder = command, forks, folder
        self.server = MoodyServer()
        self._teacher = serve(self.server.reply)[0] if command.needs_teacher else ""
        self._template = folder / "template"
        folder.mkdir(parents=True)
        site = self._site()
        site.folder.mkdir()
        command.prepare(site)
        site.folder.rename(self._template)
        self.undisturbed = self._run_undisturbed()

    def _site(self) -> Site:
        """Return the site of every trial: always the same folder, which stores and results contain."""
        return Site(self._folder / "site", self._teacher)

    def copy(self) -> Site:
        """Make the site of a trial."""
        site = self._site()
        shutil.rmtree(site.folder, ignore_errors=True)
        shutil.copytree(self._template, site.folder)
        return site

    def run(self, site: Site, arguments: Sequence[str], fails: FailingCall | None = None, clock: int = 0) -> Ended:
        """Run a command to its end; see `Forks.start`."""
        return self.forks.run(arguments, self._folder, site.environment, fails, clock)

    def _run_undisturbed(self) -> Undisturbed:
        site = self.copy()
        began = time.monotonic()
        ended = self.run(site, self.command.arguments(site))
        seconds = time.monotonic() - began
        assert ended.code == 0, ended.err
        result = self.command.result(site, ended)
        known = pieces(site.store)
        return Undisturbed(result, known, seconds, self._count_calls() if self.forks.can_fail else 0)

    def _count_calls(self) -> int:
        site, counted = self.copy(), self._folder / "calls"
        ended = self.run(site, self.command.arguments(site), FailingCall(str(site.folder), 0, counts_to=str(counted)))
        assert ended.code == 0, ended.err
        return int(counted.read_text())


def kill_trial(bench: Bench, seed: int) -> Trial:
    """End a command by signals at random moments, up to three times, and then let it finish, with a clock set back."""
    chance = random.Random(f"{bench.command.name} {seed}")
    site, losses, told = bench.copy(), [], []
    arguments = bench.command.arguments(site)
    for _ in range(chance.choice((1, 1, 2, 3))):
        number = chance.choice(SIGNALS if bench.command.program == "kdtui" else _OF_TRAINERS)
        before, done = contents(site.store), work_done(site.store)
        forked = bench.forks.start(arguments, site.folder.parent, site.environment)
        time.sleep(chance.uniform(0, 1.1 * bench.undisturbed.seconds))
        forked.send(number)
        ended = forked.wait()
        told.append(number.name)
        losses += _wrong_end(ended, number)
        losses += [*damage(site.store), *lost(before, contents(site.store)), *_repeated(done, site)]
        arguments = bench.command.again(site)
    clock = chance.choice((0, 0, -60, -400 * 86_400)) if bench.forks.can_fail else 0
    if clock:
        told.append("clock set back")
    return Trial(bench.command.name, "+".join(told), seed, [*losses, *_finish(bench, site, clock)])


def write_trial(bench: Bench, seed: int) -> Trial:
    """Let one call to the file system fail, or all from one on, and then let the command finish without faults."""
    chance = random.Random(f"{bench.command.name} {seed}")
    site = bench.copy()
    name = chance.choice(list(ERRORS))
    fails = FailingCall(
        str(site.folder), chance.randint(1, bench.undisturbed.calls), ERRORS[name], lasts=chance.random() < 0.3
    )
    before = contents(site.store)
    ended = bench.run(site, bench.command.arguments(site), fails)
    losses = [*_wrong_failure(ended), *damage(site.store), *lost(before, contents(site.store))]
    return Trial(bench.command.name, name, seed, [*losses, *_finish(bench, site)])


def copy_trial(bench: Bench, seed: int) -> Trial:
    """Copy the file of a database alone, without its log, while a command writes it, and read the copy."""
    chance = random.Random(f"{bench.command.name} {seed}")
    site = bench.copy()
    copy = site.folder / "copy.db"
    forked = bench.forks.start(bench.command.arguments(site), site.folder.parent, site.environment)
    time.sleep(chance.uniform(0, bench.undisturbed.seconds))
    forked.send(signal.SIGSTOP)
    if site.store.exists():
        shutil.copy(site.store, copy)
    forked.send(signal.SIGCONT)
    ended = forked.wait()
    losses = [] if ended.code == 0 else [f"it ended with {ended.code}: {ended.err[-500:]}"]
    if copy.exists():
        is_damaged = bool(damage(copy))
        looked = [bench.run(site, (*each, "--db", str(copy))) for each in _LOOKS]
        losses += [each for end in looked for each in _wrong_failure(end)]
        if is_damaged and " is damaged (" not in looked[-1].out:
            losses.append("doctor does not find the damage of the copy")
    return Trial(bench.command.name, "a copy of the file alone", seed, losses)


def server_trial(bench: Bench, seed: int) -> Trial:
    """Let a third of a model's answers be failures in two runs of a command, and none in a third run."""
    command, server, site = bench.command, bench.server, bench.copy()
    losses: list[str] = []
    server.forget()
    for moods, arguments in ((seed, command.arguments), (seed + 1, command.retry), (None, command.retry)):
        server.seed = moods
        before = _lasting(site)
        ended = bench.run(site, arguments(site))
        losses += [*_wrong_failure(ended), *_controls(ended), *damage(site.store)]
        losses += lost(before, _lasting(site))
    if ended.code != 0:
        losses.append(f"it does not finish after the failures: {ended.err.strip()[-500:]}")
    losses += differences(pieces(site.store), bench.undisturbed.pieces)
    repeated = [question for question, times in server.answered.items() if times > 1]
    if repeated and command.keeps_answers:
        losses.append(f"{len(repeated)} questions were asked again after a good answer: {repeated[0][:300]}")
    return Trial(command.name, "failing answers", seed, losses)


def _lasting(site: Site) -> Contents:
    """Return what a repeated call does not change. It replaces the failed one, also as the source of pieces."""
    without_calls = {table: rows for table, rows in contents(site.store).items() if table != "calls"}
    return {**without_calls, **pieces(site.store)}


def _controls(ended: Ended) -> list[str]:
    """Return which control characters of an answer reached the output."""
    found = {each for each in ended.out + ended.err if not each.isprintable() and each not in "\n\r\t"}
    return [f"the output contains {sorted(found)!r}"] if found else []


def _finish(bench: Bench, site: Site, clock: int = 0) -> list[str]:
    """Run the command to its end, with its clock moved by some seconds, and compare the result."""
    command, before, done = bench.command, contents(site.store), work_done(site.store)
    ended = bench.run(site, command.again(site), clock=clock)
    if ended.code != 0 and not (command.refusal and command.refusal in ended.err):
        return [f"it does not finish after the fault: {ended.err.strip()[-500:]}"]
    result, expected = command.result(site, ended), bench.undisturbed.result
    losses = [*damage(site.store), *lost(before, contents(site.store)), *_repeated(done, site)]
    if result != expected:
        losses += _explained(result, expected)
    return losses


def _repeated(done: set[tuple[Any, ...]], site: Site) -> list[str]:
    """Return which answers and calls were made again, or are gone."""
    gone = done - work_done(site.store)
    return [f"{len(gone)} answers and calls were made again: {next(iter(gone))!r}"] if gone else []


def _explained(result: Any, expected: Any) -> list[str]:
    """Return how two results differ, in words if they are contents of stores."""
    is_of_store = isinstance(result, dict) and all(isinstance(rows, Counter) for rows in result.values())
    return differences(result, expected) if is_of_store else ["the result is another one"]


def _wrong_end(ended: Ended, number: signal.Signals) -> list[str]:
    """Check how a command ended on a signal: by it, in the agreed way, or before it came."""
    agreed = {0, 1, 128 + number, -number}
    wrong = [] if ended.code in agreed else [f"it ended with {ended.code} on {number.name}: {ended.err[-500:]}"]
    return [*wrong, *_traces(ended)]


def _wrong_failure(ended: Ended) -> list[str]:
    """Check that a failed call is one sentence, or changes nothing that a user needs to know."""
    wrong = [] if ended.code in (0, 1) else [f"it ended with {ended.code} on a failed call: {ended.err[-500:]}"]
    if ended.code == 1 and not ended.err.strip():
        wrong.append("it failed without a word")
    return [*wrong, *_traces(ended)]


def _traces(ended: Ended) -> list[str]:
    signs = ("Traceback (most recent call last)", "Exception ignored", "Fatal Python error")
    return [f"{sign}: {ended.err[-800:]}" for sign in signs if sign in ended.err]
