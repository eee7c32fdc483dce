"""One trial: a command is disturbed, run again, and its result compared with that of an undisturbed run."""

import json
import os
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psutil

from tests.faults.commands import DisturbedCommand, Site
from tests.faults.contents import (
    Contents,
    answers,
    contents,
    damage,
    differences,
    lost,
    pieces,
    questions_answered,
    work_done,
)
from tests.faults.failing_calls import ERRORS, STOP, FailingCall, failed_call, listed_calls
from tests.faults.forks import Ended, Forks
from tests.faults.moody_server import MoodyServer
from tests.support.fake_chat_server import Serve
from tests.support.tiny import remember_model

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT)

_LOOKS = (("data", "ls", "--json"), ("knowledge", "ls"), ("run", "ls"), ("doctor", "--json"))
"""Commands that read a database."""

AFTER_END, NO_CALL, NO_COPY, CLOCK = "after its end", "no call failed", "nothing to copy yet", "clock set back"
"""What a trial says where the command ended before the fault; and that its clock was moved, too."""

_OF_TRAINERS = SIGNALS[:2]
"""A trainer has a session of its own, so that no terminal interrupts it."""


@dataclass(frozen=True)
class Undisturbed:
    """A run without faults.

    Attributes:
        pieces: the knowledge in the store afterwards.
        answers: the answers of students in the store afterwards.
        calls: the kinds of the calls to the file system that can fail, in their order; see `listed_calls`.
    """

    result: object
    pieces: Contents
    answers: Set[tuple[Any, ...]]
    seconds: float
    calls: Sequence[str]


@dataclass(frozen=True)
class Trial:
    """What became of a disturbed command.

    Attributes:
        losses: what was lost, doubled or damaged, a sentence each.
        call: the kind of the call that failed; "" if none did.
    """

    command: str
    fault: str
    seed: int
    losses: Sequence[str]
    call: str = ""


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
        if site.student.exists():
            with patch.dict(os.environ, site.environment):
                remember_model(site.student)
        return site

    def run(self, site: Site, arguments: Sequence[str], fails: FailingCall | None = None, clock: int = 0) -> Ended:
        """Run a command to its end; see `Forks.start`."""
        return self.forks.run(arguments, self._folder, site.environment, fails, clock)

    def _run_undisturbed(self) -> Undisturbed:
        seconds = inf
        # The first run is slower: it fills the caches of the machine.
        for _ in range(2):
            site = self.copy()
            began = time.monotonic()
            ended = self.run(site, self.command.arguments(site))
            seconds = min(seconds, time.monotonic() - began)
            assert ended.code == 0, ended.err
        found = self.command.result(site, ended), pieces(site.store), answers(site.store)
        return Undisturbed(*found, seconds, self._list_calls() if self.forks.can_fail else ())

    def _list_calls(self) -> Sequence[str]:
        site, listing = self.copy(), self.new_listing()
        ended = self.run(site, self.command.arguments(site), FailingCall(str(site.folder), 0, lists_to=str(listing)))
        assert ended.code == 0, ended.err
        return listed_calls(listing)

    def new_listing(self) -> Path:
        """Return the path for a new list of calls."""
        listing = self._folder / "calls"
        listing.unlink(missing_ok=True)
        return listing


def kill_trial(bench: Bench, seed: int) -> Trial:
    """End a command by signals at random moments, up to three times, and then let it finish, with a clock set back."""
    chance = random.Random(f"{bench.command.name} {seed}")
    site, losses, told = bench.copy(), [], []
    bench.server.forget()
    bench.server.seed = None
    arguments = bench.command.arguments(site)
    for attempt in range(chance.choice((1, 1, 2, 3))):
        number = chance.choice(SIGNALS if bench.command.program == "kdtui" else _OF_TRAINERS)
        before, done = contents(site.store), work_done(site.store)
        paid = paid_for(bench, site)
        forked = bench.forks.start(arguments, site.folder.parent, site.environment)
        # A later run has less to do.
        time.sleep(bench.undisturbed.seconds * chance.random() ** (1 + attempt))
        told.append(AFTER_END if forked.state == psutil.STATUS_ZOMBIE else number.name)
        forked.send(number)
        ended = forked.wait()
        losses += [*_wrong_end(bench.command, ended, number), *_wrong_success(bench, site, ended)]
        losses += [*damage(site.store), *lost(before, contents(site.store)), *_repeated(done, site)]
        losses += paid_twice(bench, paid)
        arguments = bench.command.again(site)
    paid = paid_for(bench, site)
    clock = chance.choice((0, 0, -60, -400 * 86_400)) if bench.forks.can_fail else 0
    if clock:
        told.append(CLOCK)
    losses += [*_finish(bench, site, clock), *paid_twice(bench, paid)]
    return Trial(bench.command.name, "+".join(told), seed, losses)


def write_trial(bench: Bench, seed: int) -> Trial:
    """Let one call to the file system fail, or all from one on, and then let the command finish without faults.

    Seeds that follow each other choose different calls, until each call of the command has failed.
    """
    chance = random.Random(f"{bench.command.name} {seed}")
    site, listing, name = bench.copy(), bench.new_listing(), chance.choice(list(ERRORS))
    calls = order_of_failures(bench.command.name, bench.undisturbed.calls)
    kind, number = calls[seed % len(calls)]
    fails = FailingCall(
        str(site.folder), number, ERRORS[name], lasts=chance.random() < 0.3, lists_to=str(listing), kind=kind
    )
    before = contents(site.store)
    ended = bench.run(site, bench.command.arguments(site), fails)
    # Threads can share the work so that there are fewer calls than in the undisturbed run.
    failed = failed_call(listing)
    name = name if failed else NO_CALL
    losses = [*_wrong_failure(ended), *_wrong_success(bench, site, ended)]
    losses += [*damage(site.store), *lost(before, contents(site.store))]
    return Trial(bench.command.name, name, seed, [*losses, *_finish(bench, site)], failed)


def order_of_failures(command: str, calls: Sequence[str]) -> list[tuple[str, int]]:
    """Return all calls of a command in the order in which they fail: the kind, and its number among those of the kind.

    The first call of each kind comes first, since it often makes what the others write to; then another one of each
    kind, by chance, and so on.
    """
    # The number of calls of a kind differs a little between runs, and the order of kinds may not.
    of_kind = Counter(calls)
    kinds = random.Random(command).sample(sorted(of_kind), len(of_kind))
    orders = {
        kind: [1, *random.Random(f"{command} {kind}").sample(range(2, count + 1), count - 1)]
        for kind, count in of_kind.items()
    }
    rounds = range(max(of_kind.values(), default=0))
    return [(kind, orders[kind][number]) for number in rounds for kind in kinds if number < of_kind[kind]]


def copy_trial(bench: Bench, seed: int) -> Trial:
    """Copy the file of a database alone, without its log, while a command writes it, and read the copy."""
    chance = random.Random(f"{bench.command.name} {seed}")
    site, calls = bench.copy(), len(bench.undisturbed.calls)
    copy = site.folder / "copy.db"
    # Most of them near the end, where the log is written back into the file.
    stops = FailingCall(str(site.folder), calls - int(calls * chance.random() ** 3), STOP)
    forked = bench.forks.start(bench.command.arguments(site), site.folder.parent, site.environment, stops)
    while forked.state not in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE):
        time.sleep(0.005)
    if site.store.exists():
        shutil.copy(site.store, copy)
    forked.send(signal.SIGCONT)
    ended = forked.wait()
    losses = [] if ended.code == 0 else [f"it ended with {ended.code}: {ended.err[-500:]}"]
    if not copy.exists():
        return Trial(bench.command.name, NO_COPY, seed, losses)
    kind, wrong = look_at_copy(bench, site, copy)
    return Trial(bench.command.name, kind, seed, [*losses, *wrong])


def look_at_copy(bench: Bench, site: Site, copy: Path) -> tuple[str, list[str]]:
    """Return how the copy of a database is, and what is wrong with how the program reads it."""
    is_damaged = bool(damage(copy))
    looked = [bench.run(site, (*each, "--db", str(copy))) for each in _LOOKS]
    losses = [each for end in looked for each in _wrong_failure(end)]
    [found] = [each for each in map(json.loads, looked[-1].out.splitlines()) if each["name"] == "database"]
    if is_damaged != (found["state"] != "ok"):
        losses.append(f"doctor says of a {'damaged' if is_damaged else 'whole'} copy: {found['found']}")
    if not is_damaged and len(looked[0].out.splitlines()) != contents(copy).get("datasets", Counter()).total():
        losses.append("not all datasets of the copy are listed")
    return "a damaged copy" if is_damaged else "a whole copy", losses


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
    if other := answers(site.store) - bench.undisturbed.answers:
        losses.append(f"{len(other)} answers are others: {next(iter(other))!r}")
    repeated = [question for question, times in server.answered.items() if times > 1]
    if repeated and command.keeps_answers:
        losses.append(f"{len(repeated)} questions were asked again after a good answer: {repeated[0][:300]}")
    return Trial(command.name, "failing answers", seed, losses)


def paid_for(bench: Bench, site: Site) -> Counter[str]:
    """Return how often the server has answered each question whose answer is stored."""
    kept = questions_answered(site.store, list(bench.server.answered))
    return Counter({question: times for question, times in bench.server.answered.items() if question in kept})


def paid_twice(bench: Bench, paid: Counter[str]) -> list[str]:
    """Return which questions were asked again although their answers are stored, or with another key.

    A call that is in progress when its process dies is made again, with the key of the first time. A server that knows
    such keys does not charge for it again.
    """
    asked = [question for question, times in paid.items() if bench.server.answered[question] > times]
    unkeyed = [question for question, keys in bench.server.keys.items() if len(keys) > 1 or None in keys]
    return [
        *(f"a question whose answer is stored was asked again: {each[:300]}" for each in asked[:1]),
        *(f"a question was asked with other keys: {each[:300]}" for each in unkeyed[:1]),
    ]


def _lasting(site: Site) -> Contents:
    """Return what a repeated call does not change. It replaces the failed one, also as the source of pieces."""
    without_calls = {table: rows for table, rows in contents(site.store).items() if table != "calls"}
    return {**without_calls, **pieces(site.store)}


def _controls(ended: Ended) -> list[str]:
    """Return which control characters of an answer reached the output."""
    found = {each for each in ended.out + ended.err if not each.isprintable() and each != "\n"}
    return [f"the output contains {sorted(found)!r}"] if found else []


def _finish(bench: Bench, site: Site, clock: int = 0) -> list[str]:
    """Run the command to its end, with its clock moved by some seconds, and compare the result."""
    command, before, done = bench.command, contents(site.store), work_done(site.store)
    ended = bench.run(site, command.again(site), clock=clock)
    if ended.code != 0 and not (command.refusal and command.refusal in ended.err):
        return [f"it does not finish after the fault: {ended.err.strip()[-500:]}"]
    result, expected = command.result(site, ended), bench.undisturbed.result
    return [
        *damage(site.store),
        *lost(before, contents(site.store)),
        *_repeated(done, site),
        *_differences(result, expected),
    ]


def _repeated(done: set[tuple[Any, ...]], site: Site) -> list[str]:
    """Return which answers and calls were made again, or are gone."""
    gone = done - work_done(site.store)
    return [f"{len(gone)} answers and calls were made again: {next(iter(gone))!r}"] if gone else []


def _differences(result: Any, expected: Any) -> list[str]:
    """Return how two results differ: row by row if they are contents of stores, of which caches may be missing."""
    is_of_store = isinstance(result, dict) and all(isinstance(rows, Counter) for rows in result.values())
    if is_of_store:
        return differences(result, expected)
    return [] if result == expected else ["the result is another one"]


def _wrong_success(bench: Bench, site: Site, ended: Ended) -> list[str]:
    """Check that a command which says that it succeeded has done all of its work."""
    if ended.code != 0:
        return []
    result, expected = bench.command.result(site, ended), bench.undisturbed.result
    missing = _differences(result, expected)
    return ["it says that it succeeded", *missing] if missing else []


def _wrong_end(command: DisturbedCommand, ended: Ended, number: signal.Signals) -> list[str]:
    """Check how a command ended on a signal: by it, in the agreed way, or before it came."""
    is_refused = ended.code == 1 and command.refusal and command.refusal in ended.err
    agreed = {0, 128 + number, -number, *([1] if is_refused else [])}
    wrong = [] if ended.code in agreed else [f"it ended with {ended.code} on {number.name}: {ended.err[-500:]}"]
    return [*wrong, *_traces(ended)]


def _wrong_failure(ended: Ended) -> list[str]:
    """Check that a failed call is one sentence, or changes nothing that a user needs to know."""
    wrong = [] if ended.code in (0, 1) else [f"it ended with {ended.code} on a failed call: {ended.err[-500:]}"]
    *_, last = ["", *ended.err.splitlines()]
    # The sentences of `doctor` are its findings.
    if ended.code == 1 and not last.startswith(("kdtui: ", "models.sft: ")) and '"state": "missing"' not in ended.out:
        wrong.append(f"it failed without a sentence at the end: {ended.err[-500:]}")
    return [*wrong, *_traces(ended)]


def _traces(ended: Ended) -> list[str]:
    signs = ("Traceback (most recent call last)", "Exception ignored", "Fatal Python error")
    return [f"{sign}: {ended.err[-800:]}" for sign in signs if sign in ended.err]
