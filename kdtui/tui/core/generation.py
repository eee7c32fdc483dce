"""The thread that generates bundles. The student is loaded, used and freed in it, and stays loaded between sessions."""

import os
import sys
from collections.abc import Callable, Generator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, cast

from textual.message import Message

from kdtui.tui.core.choice import StudentChoice
from kdtui.tui.core.store_worker import sentence_of, waiting_callback
from models.bundle_list import WrittenBundle
from models.errors import Cancelled
from models.llama.cancellation import Cancellation
from store.records import Session

if TYPE_CHECKING:
    from kdtui.workflows.student.explain import PromptExplanation
    from kdtui.workflows.student.generate import GenerateEvent
    from kdtui.workflows.student.learning import LearningProgress
    from kdtui.workflows.student.session_student import SessionStudent
    from store.predictions import Prediction
    from store.sqlite import Database

_NICENESS = 5
"""The niceness of the student: the screen computes in short bursts that the user waits for."""


@dataclass(eq=False, slots=True)
class GenerationRequest:
    """A session for a student to answer.

    Attributes:
        dataset: the dataset whose other sessions and knowledge the student can use; None for none.
        post: receives the messages about the request; thread-safe.
        explains: whether to return the prompt of the student in place of its answer.
    """

    dataset: str | None
    session: Session
    choice: StudentChoice
    post: Callable[[Message], object]
    explains: bool = False
    cancellation: Cancellation = field(default_factory=Cancellation)

    @property
    def cancelled(self) -> bool:
        return self.cancellation.is_cancelled

    def cancel(self) -> None:
        """Stop the student, even while it reads; a `GenerationStopped` follows."""
        self.cancellation.cancel()


class GenerationMessage(Message):
    """A message about a request."""

    def __init__(self, request: GenerationRequest) -> None:
        super().__init__()
        self.request = request


class StudentReady(GenerationMessage):
    """The student is loaded and reads the session."""


class BundleWritten(GenerationMessage):
    """A bundle is new, or its intent has grown."""

    def __init__(self, request: GenerationRequest, bundle: WrittenBundle) -> None:
        super().__init__(request)
        self.bundle = bundle


class NoteTaken(GenerationMessage):
    """There is a note for the user about the student."""

    def __init__(self, request: GenerationRequest, text: str) -> None:
        super().__init__(request)
        self.text = text


class StudentLearns(GenerationMessage):
    """Before its first answer, the student learns from the training sessions."""

    def __init__(self, request: GenerationRequest, learning: "LearningProgress") -> None:
        super().__init__(request)
        self.learning = learning


class AnswerEnded(GenerationMessage):
    """The answer is complete, or there is none and the prediction says why."""

    def __init__(self, request: GenerationRequest, prediction: "Prediction") -> None:
        super().__init__(request)
        self.prediction = prediction


class Explained(GenerationMessage):
    """The prompt of the student for the session."""

    def __init__(self, request: GenerationRequest, explanation: "PromptExplanation") -> None:
        super().__init__(request)
        self.explanation = explanation


class GenerationStopped(GenerationMessage):
    """There will be no answer; `problem` is None for a cancelled request."""

    def __init__(self, request: GenerationRequest, problem: str | None, details: str = "") -> None:
        super().__init__(request)
        self.problem, self.details = problem, details


class GenerationThread:
    """Answers requests in turn. Its public methods never block."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._requests: SimpleQueue[GenerationRequest | None] = SimpleQueue()
        self._is_closing = False
        self._serving: GenerationRequest | None = None
        self.thread: Thread | None = None

    def ask(self, request: GenerationRequest) -> None:
        """Queue a request."""
        if self.thread is None:
            # A daemon thread: the program can end even if llama.cpp hangs.
            self.thread = Thread(target=self._run, name="generation", daemon=True)
            self.thread.start()
        self._requests.put(request)

    def close(self) -> None:
        """Stop the student, free it in its thread, and end the thread."""
        self._is_closing = True
        if (serving := self._serving) is not None:
            serving.cancel()
        self._requests.put(None)

    def _run(self) -> None:
        if sys.platform == "linux":
            # On Linux, a thread has its own priority; the threads of llama.cpp inherit it.
            os.nice(_NICENESS)
        request = self._requests.get()
        while request is not None:
            request = self._serve(request)

    def _serve(self, request: GenerationRequest) -> GenerationRequest | None:
        """Load a student and answer with it until a request needs another one; return that request."""
        self._serving = request
        if self._is_cancelled(request):
            request.post(GenerationStopped(request, None))
            return self._requests.get()
        try:
            from kdtui.workflows.student.open import open_student
            from store.database import open_database

            with ExitStack() as stack:
                db = open_database(
                    self._database, make=False, on_wait=waiting_callback(request.post, self._check(request))
                )
                stack.callback(db.close)
                version = self._data_version(db)
                loaded = (request.dataset, request.choice)
                with request.cancellation.in_force():
                    opened = open_student(db, request.dataset, request.choice.settings, partial(_post_note, request))
                    student = stack.enter_context(opened)
                while True:
                    self._answer(student, request)
                    following = self._requests.get()
                    # Another program can have mined new patterns, or replaced the dataset.
                    if following is None or version != self._data_version(db):
                        return following
                    if loaded != (following.dataset, following.choice):
                        return following
                    request = self._serving = following
        except Cancelled:
            request.post(GenerationStopped(request, None))
        except Exception as error:
            # An exception in a thread would go unnoticed, so even a fault of the program becomes a message.
            request.post(GenerationStopped(request, *sentence_of(error)))
        return self._requests.get()

    def _answer(self, student: "SessionStudent", request: GenerationRequest) -> None:
        """Answer a request, or post that it has stopped; the student stays usable."""
        with suppress(Cancelled), request.cancellation.in_force():
            if not self._is_cancelled(request) and self._is_answered(student, request):
                return
        request.post(GenerationStopped(request, None))

    def _is_answered(self, student: "SessionStudent", request: GenerationRequest) -> bool:
        from kdtui.workflows.student.generate import BundleGrew, generate_bundles
        from models.student_protocol import Noted

        if request.explains:
            request.post(Explained(request, student.explain(request.session)))
            return True
        request.post(StudentReady(request))
        with closing(cast("Generator[GenerateEvent]", generate_bundles(student, [request.session]))) as events:
            for event in events:
                if self._is_cancelled(request):
                    return False
                if isinstance(event, BundleGrew):
                    request.post(BundleWritten(request, event.bundle))
                elif isinstance(event, Noted):
                    request.post(NoteTaken(request, event.text))
                else:
                    request.post(AnswerEnded(request, event.prediction))
                    return True
        return False

    def _data_version(self, db: "Database") -> tuple[bool, int]:
        """Return a value that changes when another connection creates or changes the database."""
        from store.location import database_exists

        return database_exists(self._database), int(db.execute("PRAGMA data_version").fetchone()[0])

    def _check(self, request: GenerationRequest) -> Callable[[], None]:
        """Return the check that ends the waiting for the store."""

        def check() -> None:
            if self._is_cancelled(request):
                raise Cancelled

        return check

    def _is_cancelled(self, request: GenerationRequest) -> bool:
        return request.cancelled or self._is_closing


def _post_note(request: GenerationRequest, message: "str | LearningProgress") -> None:
    request.post(NoteTaken(request, message) if isinstance(message, str) else StudentLearns(request, message))
