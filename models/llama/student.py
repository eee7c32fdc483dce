"""The student: a small language model in llama.cpp that writes the bundles of sessions, constrained to their format."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from time import sleep
from types import TracebackType

from models.chat import ChatTokenizer
from models.completion import NO_TOKENS
from models.errors import ModelError, PromptTooLong
from models.llama.answer_tokens import AnswerTokens
from models.llama.context import LlamaContext
from models.llama.engine import AnswerPlan, Engine, SessionInEngine
from models.llama.model import LlamaModel, can_use_gpu
from models.llama.saved_prefixes import SavedPrefixes
from models.llama.strategies import ScoringStrategy, Strategy, make_strategy
from models.llama.strategies.choosing import plan_choice
from models.llama.threads import FreeProcessors
from models.messages import Message
from models.pairs.clustering import Matrix
from models.student_protocol import IDLE_SECONDS, Adapter, Answered, Grew, Refused, SessionTask, StudentEvent
from models.vocabulary import Token

DEFAULT_CONTEXT = 4096
"""Tokens of all running sessions together; 90 MB of cache for the embedded student."""

BATCH = 256
"""Tokens decoded at once: larger batches are hardly faster, and a cancel waits for the end of one."""

SESSIONS_ON_PROCESSOR = 2
"""Sessions that run at a time. On a processor every token is compared with all used cells, also those of other
sessions, and a step costs by the token: more sessions only slow each other down."""

SESSIONS_ON_GPU = 16
"""Sessions on a GPU. A step costs the same for many tokens, and a token is compared with its own session only."""

_LOOKAHEAD = 64
"""Sessions that are taken ahead of time, to group those that share knowledge."""


class Student(AbstractContextManager["Student"]):
    """A GGUF model that writes bundles by constrained decoding, many sessions at a time.

    Use it from one thread at a time.

    Args:
        path: a GGUF file.
        context: tokens of all running sessions together; at most what the model was trained for.
        cache: a folder for common beginnings of prompts, so that the next process need not read them again.
        threads: to decode with; by default the number of processors that other programs leave free.
        trusted: as for `LlamaModel`.

    Raises:
        ModelError: llama.cpp cannot load the file, there is no memory for the context, or it writes no text.
    """

    def __init__(
        self,
        path: Path,
        *,
        context: int = DEFAULT_CONTEXT,
        cache: Path | None = None,
        threads: int | None = None,
        trusted: bool = False,
    ) -> None:
        self.model = LlamaModel(path, trusted=trusted)
        count: Callable[[], int] = FreeProcessors() if threads is None else lambda: threads
        try:
            gpu = can_use_gpu()
            cells = min(context, self.model.context_length)
            self._context = LlamaContext(self.model, cells=cells, batch=BATCH, threads=count(), flash=gpu)
        except ModelError:
            self.model.close()
            raise
        # Flash attention lays out the cache in another way.
        saved = None if cache is None else SavedPrefixes(cache, path, f"flash {gpu}")
        self._sessions = SESSIONS_ON_GPU if gpu else SESSIONS_ON_PROCESSOR
        self._engine = Engine(self._context, sessions=self._sessions, threads=count, saved=saved)
        try:
            self._chat = ChatTokenizer(self.model)
            self._tokens = AnswerTokens(self.model, self._chat.end)
        except ModelError:
            self.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Free the weights and the context."""
        self._context.close()
        self.model.close()

    @property
    def context(self) -> int:
        """Tokens of all running sessions together."""
        return self._engine.room

    @property
    def cache_bytes(self) -> int:
        """Size of the cache in memory."""
        return self._context.cache_bytes

    def answer(self, tasks: Iterable[SessionTask | None], strategy: Strategy | None = None) -> Iterator[StudentEvent]:
        """Answer sessions as they arrive. Events of several sessions alternate, and the first to finish comes first.

        Args:
            tasks: taken ahead of time, unless there is enough to do; None if there is no session at the moment but
                there can be one later.
            strategy: by default the list.

        Closing the iterator stops within one batch.

        Raises:
            ModelError: llama.cpp fails.
        """
        way = strategy or make_strategy("list")

        def plan(task: SessionTask, emit: Callable[[StudentEvent], None]) -> AnswerPlan:
            return way.plan(
                task, self._chat, self._tokens, self._engine.room, lambda bundle: emit(Grew(task.key, bundle))
            )

        return self._run(tasks, plan)

    def rendered(self, messages: Sequence[Message]) -> str:
        """Return the prompt of these messages as the model reads it, with control tokens by name.

        Raises:
            ModelError: the chat template cannot be used.
        """
        prompt = self._chat.prompt(messages)
        model = self.model
        return b"".join(
            model.token_text(token).encode() if model.is_control(token) else model.piece(token)
            for token in (*prompt.shared, *prompt.own)
        ).decode("utf-8", "replace")

    def score_pairs(
        self, tasks: Iterable[SessionTask], strategy: ScoringStrategy
    ) -> Iterator[tuple[object, Matrix] | Refused]:
        """Yield the scores of all pairs of each session before calibration, with the key of the session.

        Raises:
            ModelError: llama.cpp fails.
        """
        judged: deque[tuple[object, Matrix]] = deque()

        def plan(task: SessionTask, _: Callable[[StudentEvent], None]) -> AnswerPlan:
            return strategy.plan_scores(
                task, self._chat, self._tokens, self._engine.room, lambda scores: judged.append((task.key, scores))
            )

        for event in self._run(tasks, plan):
            if isinstance(event, Refused):
                yield event
            while judged:
                yield judged.popleft()

    def choose(
        self, tasks: Iterable[SessionTask], lead: str, choices: Sequence[str]
    ) -> Iterator[tuple[Answered | Refused, int]]:
        """Choose how the model continues the beginning of an answer; yield the number of the choice.

        Args:
            tasks: each asks in the form "json"; none of them stands for a real session.
            lead: the beginning of every answer.
            choices: the continuations; -1 is yielded for a task that is refused.

        Raises:
            ModelError: llama.cpp fails.
        """
        chosen: dict[object, int] = {}

        def plan(task: SessionTask, _: Callable[[StudentEvent], None]) -> AnswerPlan:
            return plan_choice(task, self._chat, self._tokens, lead, choices, partial(chosen.__setitem__, task.key))

        for event in self._run(tasks, plan):
            if isinstance(event, Answered | Refused):
                yield event, chosen.pop(event.key, -1)

    def _run(
        self,
        tasks: Iterable[SessionTask | None],
        plan: Callable[[SessionTask, Callable[[StudentEvent], None]], AnswerPlan],
    ) -> Iterator[StudentEvent]:
        source = iter(tasks)
        events: deque[StudentEvent] = deque()
        jobs: dict[SessionInEngine, SessionTask] = {}
        more = True
        try:
            while True:
                if more and self._engine.waiting < self._sessions:
                    taken, more = _available_tasks(source, _LOOKAHEAD)
                    self._submit(taken, plan, jobs, events.append)
                elif self._engine.is_idle:
                    return
                # Events that need no decoding come first.
                while events:
                    yield events.popleft()
                if more and self._engine.is_idle:
                    sleep(IDLE_SECONDS)
                for job in self._engine.step():
                    assert job.answer is not None
                    events.append(Answered(jobs.pop(job).key, job.answer, job.seconds, job.usage))
                while events:
                    yield events.popleft()
        finally:
            self._engine.reset()

    def _submit(
        self,
        tasks: Sequence[SessionTask],
        make_plan: Callable[[SessionTask, Callable[[StudentEvent], None]], AnswerPlan],
        jobs: dict[SessionInEngine, SessionTask],
        emit: Callable[[StudentEvent], None],
    ) -> None:
        """Submit sessions to the engine, grouped by adapters and by the beginning of their prompts."""
        # By adapters first: a change of adapters empties the cache.
        groups: dict[tuple[Adapter, ...], dict[tuple[Token, ...], list[tuple[SessionTask, AnswerPlan]]]] = {}
        for task in tasks:
            if task.products < 2:
                emit(Answered(task.key, [], 0.0, NO_TOKENS))
                continue
            try:
                plan = replace(make_plan(task, emit), adapters=task.adapters)
                self._check(plan)
            except ModelError as problem:
                emit(Refused(task.key, str(problem), 0.0))
            else:
                groups.setdefault(plan.adapters, {}).setdefault(plan.shared, []).append((task, plan))
        for alike in groups.values():
            for task, plan in chain.from_iterable(alike.values()):
                jobs[self._engine.submit(plan)] = task

    def _check(self, plan: AnswerPlan) -> None:
        for adapter in plan.adapters:
            self.model.adapter(adapter.path)
        needed = len(plan.shared) + plan.cells
        if needed > self._engine.room:
            raise PromptTooLong.of(needed, self._engine.room)


def _available_tasks(source: Iterator[SessionTask | None], most: int) -> tuple[list[SessionTask], bool]:
    """Return the tasks that are available now, and whether there can be more."""
    taken: list[SessionTask] = []
    while len(taken) < most:
        try:
            task = next(source)
        except StopIteration:
            return taken, False
        if task is None:
            break
        taken.append(task)
    return taken, True
