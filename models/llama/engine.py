"""Many sessions decoded together: which are in the cache, and what goes into the next batch.

A session is admitted when the cache has room for its maximum, so that no session is ever evicted. The common beginning
of prompts (instructions, knowledge, demonstrations) is read once, kept as a *stem*, and shared.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from models.bundle_list import WrittenBundle
from models.completion import UNKNOWN_USAGE, Usage
from models.llama.context import MOST_ROWS, MOST_SEQUENCES, LlamaContext, TokenRun
from models.llama.decoding import Branch, Program, Read
from models.llama.saved_prefixes import LEAST_TOKENS, SavedPrefixes
from models.student_protocol import Adapter
from models.vocabulary import Token

_SHORT = 40
"""Reads of up to this number of tokens go first: they belong to answers, and longer ones to prompts."""


@dataclass(frozen=True, slots=True)
class AnswerPlan:
    """What answering a session needs.

    Attributes:
        shared: first tokens of the prompt, which other prompts have too; read once for all of them.
        cells: most tokens in the cache at a time, without the shared ones.
        branches: most branches at a time.
        start: makes the program that answers.
        adapters: to read and answer with.
    """

    shared: tuple[Token, ...]
    cells: int
    branches: int
    start: Callable[["Workspace"], Program[list[WrittenBundle]]]
    adapters: tuple[Adapter, ...] = ()


class Workspace:
    """The part of the cache that one session can use. It is freed with the session."""

    def __init__(self, engine: "Engine", stem: Branch) -> None:
        self._engine = engine
        self._stem = stem
        self._given = self._written = 0
        self.branches: list[Branch] = []

    def open(self) -> Branch:
        """Return a new branch that holds the shared tokens."""
        return self.fork(self._stem)

    def fork(self, branch: Branch) -> Branch:
        """Return a new branch that begins with all tokens of another."""
        new = self._engine.branch_off(branch, branch.length)
        self.branches.append(new)
        return new

    def drop(self, branch: Branch) -> None:
        """Remove a branch from the cache."""
        self._given += branch.given
        self._written += branch.written
        self.branches.remove(branch)
        self._engine.forget(branch)

    @property
    def usage(self) -> Usage:
        """Tokens that the session used; those that it shares count once, if it read anything."""
        given = self._given + sum(branch.given for branch in self.branches)
        written = self._written + sum(branch.written for branch in self.branches)
        return Usage(self._stem.length + given if given else 0, written)


@dataclass(eq=False, slots=True)
class SessionInEngine:
    """A session in the engine.

    Attributes:
        answer: its bundles, when all are known.
        seconds: since it was admitted.
        usage: tokens that it used.
    """

    plan: AnswerPlan
    answer: list[WrittenBundle] | None = None
    seconds: float = 0.0
    usage: Usage = UNKNOWN_USAGE


@dataclass(eq=False, slots=True)
class _Stem:
    """A branch of shared tokens, its final length, and how many sessions need it."""

    branch: Branch
    tokens: int
    users: int = 0

    @property
    def is_ready(self) -> bool:
        return self.branch.length == self.tokens


@dataclass(eq=False, slots=True)
class _Reading:
    """A read, and how many of its tokens are decoded."""

    read: Read
    decoded: int = 0

    @property
    def left(self) -> int:
        return len(self.read.tokens) - self.decoded


@dataclass(eq=False, slots=True)
class _Running:
    """A program between two reads. `results` is filled while its reads are decoded."""

    program: Program[Any]
    finish: Callable[[Any], None]
    readings: list[_Reading] = field(default_factory=list)
    results: list[Any] = field(default_factory=list)


class Engine:
    """Runs jobs in a context, one batch per step.

    Args:
        sessions: most sessions at a time; fewer if the cache is full.
        threads: called before each batch; returns the number of threads to decode it with.
        saved: stems of earlier processes, and for later ones.
    """

    def __init__(
        self, context: LlamaContext, *, sessions: int, threads: Callable[[], int], saved: SavedPrefixes | None
    ) -> None:
        self._context = context
        self._saved = saved
        self._most_sessions = sessions
        self._threads = threads
        self._waiting: deque[SessionInEngine] = deque()
        self._running: list[_Running] = []
        self._sessions = 0
        self._finished: list[SessionInEngine] = []
        self._stems: OrderedDict[tuple[Token, ...], _Stem] = OrderedDict()
        self._free_sequences = list(range(MOST_SEQUENCES))
        self._free_cells = context.cells
        self._adapters: tuple[Adapter, ...] = ()

    @property
    def room(self) -> int:
        """Most tokens of a session, including the shared ones."""
        return self._context.cells

    @property
    def is_idle(self) -> bool:
        """Whether no job is waiting or running."""
        return not self._waiting and not self._running

    @property
    def waiting(self) -> int:
        """Number of jobs that are not admitted yet."""
        return len(self._waiting)

    def submit(self, plan: AnswerPlan) -> SessionInEngine:
        """Queue a session; it must fit the empty cache."""
        job = SessionInEngine(plan)
        self._waiting.append(job)
        return job

    def reset(self) -> None:
        """Drop all jobs. Stems that were read completely are kept."""
        self._waiting.clear()
        self._running.clear()
        self._finished.clear()
        self._sessions = 0
        for sequence in set(range(MOST_SEQUENCES)) - set(self._free_sequences):
            if all(stem.branch.sequence != sequence for stem in self._stems.values()):
                self._context.remove(sequence)
                self._free_sequences.append(sequence)
        for shared, stem in list(self._stems.items()):
            stem.users = 0
            if not stem.is_ready:
                self._drop_stem(shared)
        self._free_cells = self._context.cells - sum(map(len, self._stems))

    def step(self) -> list[SessionInEngine]:
        """Decode one batch, and return the jobs that it finished.

        Raises:
            ModelError: llama.cpp fails; all jobs are lost.
        """
        self._admit()
        chosen = self._choose()
        if chosen:
            self._context.use_threads(self._threads())
            rows = self._context.decode(
                [
                    TokenRun(
                        reading.read.branch.sequence,
                        reading.read.branch.length,
                        reading.read.tokens[reading.decoded : reading.decoded + count],
                        reading.read.wanted if count == reading.left else 0,
                    )
                    for _, _, reading, count in chosen
                ]
            )
            row = 0
            for running, place, reading, count in chosen:
                reading.decoded += count
                reading.read.branch.length += count
                if reading.read.look is not None and not reading.left:
                    running.results[place] = reading.read.look(rows[row : row + reading.read.wanted])
                    row += reading.read.wanted
            for running in list(dict.fromkeys(running for running, *_ in chosen)):
                if not any(reading.left for reading in running.readings):
                    self._advance(running, running.results)
        finished, self._finished = self._finished, []
        return finished

    def branch_off(self, branch: Branch, length: int) -> Branch:
        """Return a new branch that begins with the first tokens of another."""
        sequence = self._free_sequences.pop()
        self._context.copy(branch.sequence, sequence, length)
        return Branch(sequence, length)

    def forget(self, branch: Branch) -> None:
        """Free a branch."""
        self._context.remove(branch.sequence)
        self._free_sequences.append(branch.sequence)

    def _choose(self) -> list[tuple[_Running, int, _Reading, int]]:
        """Return the reads of the next batch, each with its program, its index there, and its number of tokens."""
        open_reads = [
            (running, place, reading)
            for running in self._running
            for place, reading in enumerate(running.readings)
            if reading.left
        ]
        open_reads.sort(key=lambda each: each[2].left > _SHORT)
        chosen = []
        room = self._context.batch
        rows = MOST_ROWS
        for running, place, reading in open_reads:
            wanted = reading.read.wanted
            # All rows that a look gets come from one batch.
            count = reading.left if reading.left <= room and wanted <= rows else min(reading.left - wanted, room)
            if count <= 0:
                break
            chosen.append((running, place, reading, count))
            room -= count
            rows -= wanted if count == reading.left else 0
        return chosen

    def _admit(self) -> None:
        """Start waiting jobs, in order, while there is room for their maximum."""
        while self._waiting and self._sessions < self._most_sessions:
            job = self._waiting[0]
            if job.plan.adapters != self._adapters:
                # Adapters act on a whole batch, and on what is in the cache.
                if self._running:
                    return
                self._switch(job.plan.adapters)
            shared = job.plan.shared
            if shared not in self._stems:
                if not self._make_room(len(shared) + job.plan.cells, 1 + job.plan.branches, keep=shared):
                    return
                self._read_stem(shared)
            self._stems.move_to_end(shared)
            stem = self._stems[shared]
            if not stem.is_ready or not self._make_room(job.plan.cells, job.plan.branches, keep=shared):
                return
            self._waiting.popleft()
            self._start(job, stem)

    def _switch(self, adapters: tuple[Adapter, ...]) -> None:
        for shared in list(self._stems):
            self._drop_stem(shared)
        self._context.use_adapters(adapters)
        self._adapters = adapters

    def _start(self, job: SessionInEngine, stem: _Stem) -> None:
        plan = job.plan
        workspace = Workspace(self, stem.branch)
        started = perf_counter()
        self._sessions += 1
        self._free_cells -= plan.cells
        stem.users += 1

        def finish(answer: list[WrittenBundle]) -> None:
            job.answer, job.seconds, job.usage = answer, perf_counter() - started, workspace.usage
            for branch in workspace.branches:
                self.forget(branch)
            self._sessions -= 1
            self._free_cells += plan.cells
            stem.users -= 1
            self._finished.append(job)

        self._run(plan.start(workspace), finish)

    def _run(self, program: Program[Any], finish: Callable[[Any], None]) -> None:
        running = _Running(program, finish)
        self._running.append(running)
        self._advance(running, None)

    def _advance(self, running: _Running, results: list[Any] | None) -> None:
        try:
            reads = next(running.program) if results is None else running.program.send(results)
            while not reads:
                reads = running.program.send([])
        except StopIteration as end:
            self._running.remove(running)
            running.finish(end.value)
            return
        for read in reads:
            # Wrong guesses at the end of a branch are replaced by the new tokens.
            self._context.remove(read.branch.sequence, read.branch.length)
        running.readings = [_Reading(read) for read in reads]
        running.results = [None] * len(reads)

    def _read_stem(self, shared: tuple[Token, ...]) -> None:
        """Load a stem, or begin to read it after its longest common beginning with another stem."""
        self._free_cells -= len(shared)
        saved = self._saved if len(shared) >= LEAST_TOKENS else None
        state = saved and saved.load(shared, self._adapters)
        if state:
            loaded = Branch(self._free_sequences.pop(), 0)
            if self._context.restore(loaded.sequence, state):
                loaded.length = len(shared)
                self._stems[shared] = _Stem(loaded, len(shared))
                return
            self.forget(loaded)
        best, same = None, 0
        beginnings = self._stems if self._context.can_forget else {}
        for other, stem in beginnings.items():
            if (common := _common_length(shared, other[: stem.branch.length])) > same:
                best, same = stem.branch, common
        branch = Branch(self._free_sequences.pop(), 0) if best is None else self.branch_off(best, same)
        self._stems[shared] = _Stem(branch, len(shared))

        def finish(_: None) -> None:
            if saved is not None:
                saved.save(shared, self._adapters, self._context.state(branch.sequence))

        def read() -> Program[None]:
            yield [Read(branch, shared[same:])]

        if same < len(shared):
            self._run(read(), finish)

    def _make_room(self, cells: int, branches: int, *, keep: tuple[Token, ...]) -> bool:
        """Drop stems that nobody needs, the oldest first, until there is room; return whether there is."""
        for shared in list(self._stems):
            if cells <= self._free_cells and branches <= len(self._free_sequences):
                break
            stem = self._stems[shared]
            if shared != keep and not stem.users and stem.is_ready:
                self._drop_stem(shared)
        return cells <= self._free_cells and branches <= len(self._free_sequences)

    def _drop_stem(self, shared: tuple[Token, ...]) -> None:
        self.forget(self._stems.pop(shared).branch)
        self._free_cells += len(shared)


def _common_length(one: Sequence[Token], other: Sequence[Token]) -> int:
    most = min(len(one), len(other))
    return next((i for i in range(most) if one[i] != other[i]), most)
