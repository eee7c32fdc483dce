"""The thread that generates. The student is made, used and freed in it, and stays loaded between sessions."""

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
from kdtui.tui.core.store_worker import sentence_of, tell_waiting
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
"""How much the student gives way to the screen, which computes in bursts that someone waits for."""


@dataclass(eq=False, slots=True)
class GenerationRequest:
    """One session for one student.

    Attributes:
        dataset: whose other sessions and knowledge the student may use; None for none.
        post: takes the messages about it, and must be safe to call from a thread.
        explains: whether it is wanted what the student would be asked, and no answer.
    """

    dataset: str | None
    session: Session
    choice: StudentChoice
    post: Callable[[Message], object]
    explains: bool = False
    cancellation: Cancellation = field(default_factory=Cancellation)

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits for the answer any more."""
        return self.cancellation.is_cancelled

    def cancel(self) -> None:
        """Stop the student, in the middle of what it reads; a `GenerationStopped` follows."""
        self.cancellation.cancel()


class GenerationMessage(Message):
    """A message about a request."""

    def __init__(self, request: GenerationRequest) -> None:
        super().__init__()
        self.request = request


class StudentReady(GenerationMessage):
    """The student is loaded and begins to read the session."""


class BundleWritten(GenerationMessage):
    """A bundle is new, or has more of its intent."""

    def __init__(self, request: GenerationRequest, bundle: WrittenBundle) -> None:
        super().__init__(request)
        self.bundle = bundle


class NoteTaken(GenerationMessage):
    """A user should know something of how the student is asked."""

    def __init__(self, request: GenerationRequest, text: str) -> None:
        super().__init__(request)
        self.text = text


class StudentLearns(GenerationMessage):
    """Before it answers the student learns from the training sessions, once."""

    def __init__(self, request: GenerationRequest, learning: "LearningProgress") -> None:
        super().__init__(request)
        self.learning = learning


class AnswerEnded(GenerationMessage):
    """The answer is whole, or the student has none and the prediction says why."""

    def __init__(self, request: GenerationRequest, prediction: "Prediction") -> None:
        super().__init__(request)
        self.prediction = prediction


class Explained(GenerationMessage):
    """What the student is asked about the session."""

    def __init__(self, request: GenerationRequest, explanation: "PromptExplanation") -> None:
        super().__init__(request)
        self.explanation = explanation


class GenerationStopped(GenerationMessage):
    """There will be no answer; `problem` is None where the request was cancelled."""

    def __init__(self, request: GenerationRequest, problem: str | None, details: str = "") -> None:
        super().__init__(request)
        self.problem, self.details = problem, details


class GenerationThread:
    """Answers requests one after the other. Its own methods never wait."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._requests: SimpleQueue[GenerationRequest | None] = SimpleQueue()
        self._is_closing = False
        self._serving: GenerationRequest | None = None
        self.thread: Thread | None = None

    def ask(self, request: GenerationRequest) -> None:
        """Have a request answered, after those that were asked before."""
        if self.thread is None:
            # A daemon: should llama.cpp hang, the program can end all the same.
            self.thread = Thread(target=self._run, name="generation", daemon=True)
            self.thread.start()
        self._requests.put(request)

    def close(self) -> None:
        """Stop the student, have it freed in its thread, and end that."""
        self._is_closing = True
        if (serving := self._serving) is not None:
            serving.cancel()
        self._requests.put(None)

    def _run(self) -> None:
        if sys.platform == "linux":
            # Here a thread has a priority of its own, which those that llama.cpp starts from it inherit.
            os.nice(_NICENESS)
        request = self._requests.get()
        while request is not None:
            request = self._serve(request)

    def _serve(self, request: GenerationRequest) -> GenerationRequest | None:
        """Load the student that is asked for and answer with it, until another is needed; return what needs that."""
        self._serving = request
        if self._unwanted(request):
            request.post(GenerationStopped(request, None))
            return self._requests.get()
        try:
            from kdtui.workflows.student.open import open_student
            from store.database import open_database

            with ExitStack() as stack:
                db = open_database(self._database, make=False, on_wait=tell_waiting(request.post, self._check(request)))
                stack.callback(db.close)
                version = self._data_version(db)
                loaded = (request.dataset, request.choice)
                with request.cancellation.in_force():
                    opened = open_student(db, request.dataset, request.choice.settings, partial(_tell, request))
                    student = stack.enter_context(opened)
                while True:
                    self._answer(student, request)
                    following = self._requests.get()
                    # Another program may have mined new patterns, or replaced the dataset.
                    if following is None or version != self._data_version(db):
                        return following
                    if loaded != (following.dataset, following.choice):
                        return following
                    request = self._serving = following
        except Cancelled:
            request.post(GenerationStopped(request, None))
        except Exception as error:
            # Nobody sees what a thread dies of, so even a fault of the program becomes a message.
            request.post(GenerationStopped(request, *sentence_of(error)))
        return self._requests.get()

    def _answer(self, student: "SessionStudent", request: GenerationRequest) -> None:
        """Answer a request, or say that it is stopped; the student can be asked again after either."""
        with suppress(Cancelled), request.cancellation.in_force():
            if not self._unwanted(request) and self._is_answered(student, request):
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
                if self._unwanted(request):
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
        """What changes when another connection has made or changed the database."""
        from store.location import database_exists

        return database_exists(self._database), int(db.execute("PRAGMA data_version").fetchone()[0])

    def _check(self, request: GenerationRequest) -> Callable[[], None]:
        """What ends the waiting for the store."""

        def check() -> None:
            if self._unwanted(request):
                raise Cancelled

        return check

    def _unwanted(self, request: GenerationRequest) -> bool:
        return request.cancelled or self._is_closing


def _tell(request: GenerationRequest, message: "str | LearningProgress") -> None:
    request.post(NoteTaken(request, message) if isinstance(message, str) else StudentLearns(request, message))
