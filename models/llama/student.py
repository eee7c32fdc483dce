"""The student: a small language model in llama.cpp that writes the bundles of sessions, and can write nothing else."""

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
from models.llama.strategies import PairStrategy, Strategy, make_strategy
from models.llama.strategies.choosing import plan_choice
from models.llama.threads import FreeProcessors
from models.messages import Message
from models.pairs.clustering import Matrix
from models.student_protocol import NAP, Adapter, Answered, Grew, Refused, SessionTask, StudentEvent
from models.vocabulary import Token

DEFAULT_CONTEXT = 4096
"""Tokens that all sessions in the works hold together; 90 MB of cache for the embedded student."""

BATCH = 256
"""Tokens decoded at once: larger ones are hardly faster, and a cancel waits for the end of one."""

SESSIONS_ON_PROCESSOR = 2
"""Sessions in the works. On a processor every token is compared with all cells that are in use, whoever uses them, and
a step costs by the token: more sessions only make each other slower."""

SESSIONS_ON_GPU = 16
"""There a step costs the same for many tokens, and only the cells of the own session are looked at."""

_AHEAD = 64
"""Sessions that are looked at ahead, to put those together that share knowledge."""


class Student(AbstractContextManager["Student"]):
    """A GGUF model that writes bundles by constrained decoding, many sessions at a time.

    Use it from one thread at a time.

    Args:
        path: a GGUF file.
        context: tokens that the sessions in the works have together; at most what the model was trained for.
        cache: a folder for what prompts have in common, so that the next process need not read it again.
        threads: to decode with; by default as many as there are processors that nobody else is using.

    Raises:
        ModelError: the file is no model that llama.cpp can load, or there is no memory for the context.
    """

    def __init__(
        self,
        path: Path,
        *,
        context: int = DEFAULT_CONTEXT,
        cache: Path | None = None,
        threads: int | None = None,
    ) -> None:
        self.model = LlamaModel(path)
        count: Callable[[], int] = FreeProcessors() if threads is None else lambda: threads
        try:
            gpu = can_use_gpu()
            cells = min(context, self.model.context_length)
            self._context = LlamaContext(self.model, cells=cells, batch=BATCH, threads=count(), flash=gpu)
        except ModelError:
            self.model.close()
            raise
        # The cache is laid out in another way with flash attention.
        saved = None if cache is None else SavedPrefixes(cache, path, f"flash {gpu}")
        self._sessions = SESSIONS_ON_GPU if gpu else SESSIONS_ON_PROCESSOR
        self._engine = Engine(self._context, sessions=self._sessions, threads=count, saved=saved)
        self._chat = ChatTokenizer(self.model)
        self._tokens = AnswerTokens(self.model, self._chat.end)

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
        """Tokens that the sessions in the works have together."""
        return self._engine.room

    @property
    def cache_bytes(self) -> int:
        """What the cache takes in memory."""
        return self._context.cache_bytes

    def answer(self, tasks: Iterable[SessionTask | None], strategy: Strategy | None = None) -> Iterator[StudentEvent]:
        """Answer sessions as they come; events of several sessions alternate, and the first to be done comes first.

        Args:
            tasks: looked at ahead, but not while there is enough to do; None where there is no session at the moment,
                but may be later.
            strategy: how; by default the list.

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
        """The prompt of these messages as the model reads it, control tokens by their names.

        Raises:
            ModelError: the chat template cannot be used.
        """
        prompt = self._chat.prompt(messages)
        model = self.model
        return b"".join(
            model.token_text(token).encode() if model.is_control(token) else model.piece(token)
            for token in (*prompt.shared, *prompt.own)
        ).decode("utf-8", "replace")

    def judge_pairs(
        self, tasks: Iterable[SessionTask], strategy: PairStrategy
    ) -> Iterator[tuple[object, Matrix] | Refused]:
        """What a strategy says of the pairs of sessions before calibration, each with the key of its session.

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
        """How the model goes on behind its prompt and the beginning of an answer, by the number of the choice.

        Args:
            tasks: each asks in the form "json"; none of them is a session of its own.
            lead: how every answer begins.
            choices: of which the likeliest is taken; there is none, -1, where a task is refused.

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
                    taken, more = _take(source, _AHEAD)
                    self._submit(taken, plan, jobs, events.append)
                elif self._engine.idle:
                    return
                # What is known before anything is decoded is told before that, too.
                while events:
                    yield events.popleft()
                if more and self._engine.idle:
                    sleep(NAP)
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
        """Hand sessions to the engine, those together that share adapters and the beginning of their prompts."""
        # By adapters first: changing them empties the cache.
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


def _take(source: Iterator[SessionTask | None], most: int) -> tuple[list[SessionTask], bool]:
    """The next tasks that are there at the moment, and whether there may be more."""
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
