"""Load a language model, and make tasks from sessions."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from dataclasses import replace as replace_fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from platformdirs import user_cache_path

from kdtui.bundling.intent_prompt import INTENT_MESSAGES, intent_question
from kdtui.distill.applicable import AICL, Applicable
from kdtui.distill.student_prompt import session_prompt
from kdtui.errors import KdtuiError
from kdtui.workflows.model_names import (
    located_model,
)
from kdtui.workflows.student.learning import Tell
from kdtui.workflows.student.manifest import training_of
from kdtui.workflows.student.settings import uses_evidence
from models.bundle_list import WrittenBundle
from models.embedded import SHIPPED, shipped_adapter
from models.errors import ModelError
from models.student_protocol import (
    Adapter,
    IntentPrompt,
    SessionTask,
)
from store.records import RunSettings, Session

if TYPE_CHECKING:
    from models.llama.loading import Loading
    from models.llama.student import Student
    from models.pairs.clustering import Matrix
    from store.sqlite import Database


@dataclass(frozen=True, slots=True)
class OpenModel:
    """A language model that is loaded or loading.

    Attributes:
        loading: waits for the model.
        task: makes a task of a session, with the knowledge that the student is given.
        knowledge: returns the knowledge that applies to a session.
        has_evidence: whether tasks say how likely their pairs are by other sessions.
        only_writes_intents: whether its adapter only writes intents, of bundles that tasks find without the model.
    """

    loading: "Loading[Student]"
    task: Callable[[Session], SessionTask]
    knowledge: Callable[[Session], Applicable]
    has_evidence: bool
    only_writes_intents: bool

    @property
    def student(self) -> "Student":
        """The model; waits until it is loaded."""
        return self.loading.result()


@contextmanager
def open_model(db: "Database | None", dataset: str | None, settings: RunSettings, tell: Tell) -> Iterator[OpenModel]:
    """Open the language model of these settings; otherwise like `open_student`.

    An error of loading can occur later, when the model is used.
    """
    from models.adapters.provenance import adapter_manifest
    from models.llama.loading import Loading

    cache = user_cache_path("kdtui")
    adapters = adapters_of(db, settings)
    path = None if settings.student == SHIPPED else located_model(db, settings.student)
    with ExitStack() as stack:
        loading = stack.enter_context(closing(Loading(partial(load_model, path, adapters, settings.context, cache))))
        manifests = [adapter_manifest(adapter.path, cache / "manifests") for adapter in adapters]
        trained = training_of(manifests[0]) if len(manifests) == 1 else None
        only_writes_intents = trained is not None and trained.form == "intents"
        patterns = None
        if only_writes_intents or uses_evidence(settings):
            from kdtui.workflows.student.pair_evidence import open_pattern_student

            patterns = stack.enter_context(open_pattern_student(db, dataset, tell))
        if settings.knowledge and not only_writes_intents:
            # Knowledge is cut to a number of tokens of this model.
            loading.result()
        knowledge = retriever(db, dataset, settings, lambda text: len(loading.result().model.tokenize(text)))
        task: Callable[[Session], SessionTask]
        if only_writes_intents:
            assert patterns is not None
            task = partial(_task_to_name, adapters, patterns.write_bundles)
        else:
            evidence = None if patterns is None else patterns.pair_probabilities
            task = task_maker(knowledge, adapters, evidence, thinks=trained is not None and trained.target)
        yield OpenModel(loading, task, knowledge, patterns is not None and not only_writes_intents, only_writes_intents)


def load_model(path: Path | None, adapters: Sequence[Adapter], context: int | None, cache: Path) -> "Student":
    """Load a model, and check that these adapters fit it: otherwise every session would refuse them.

    Args:
        path: its file; None for the fastest form of the embedded one.

    Raises:
        ModelError: it cannot be loaded, or an adapter is for another model.
    """
    # Imported here: llama.cpp takes a while, and other students need not wait for it.
    from models.adapters.provenance import adapter_manifest, check_adapter
    from models.llama.fast_base import open_embedded_student
    from models.llama.student import DEFAULT_CONTEXT, Student

    context = context or DEFAULT_CONTEXT
    if path is None:
        student = open_embedded_student(context=context, cache=cache)
    else:
        student = Student(path, context=context, cache=cache / "prefixes")
    try:
        for adapter in adapters:
            student.model.adapter(adapter.path)
            manifest = adapter_manifest(adapter.path, cache / "manifests")
            check_adapter(adapter.path, manifest, student.model, student.model.path, cache / "norms")
    except BaseException:
        student.close()
        raise
    return student


def adapters_of(db: "Database | None", settings: RunSettings) -> tuple[Adapter, ...]:
    """Return the adapters of these settings; the files can be missing.

    Raises:
        KdtuiError: there is no adapter of a name.
        ModelError: the shipped adapter is missing from the installation.
    """
    named = ((SHIPPED, 1.0),) if settings.student == SHIPPED else settings.adapters
    return tuple(Adapter(_adapter_file(db, adapter), scale) for adapter, scale in named)


def _adapter_file(db: "Database | None", adapter: str) -> Path:
    if adapter == SHIPPED:
        return shipped_adapter()
    # Imported here: it imports trainings, which the usual student does not need.
    from kdtui.workflows.student.adapters import adapter_file

    return adapter_file(db, adapter)


def retriever(
    db: "Database | None", dataset: str | None, settings: RunSettings, count: Callable[[str], int]
) -> Callable[[Session], Applicable]:
    """Return a function that finds the knowledge for a session with these settings; it can be empty.

    Args:
        count: counts the tokens of a text.
    """
    if not settings.knowledge and settings.strategy != AICL:
        return lambda _: Applicable()
    from kdtui.workflows.student.nearest import make_retriever

    assert db is not None
    assert dataset is not None
    return make_retriever(db, dataset, settings, count)


def task_maker(
    knowledge: Callable[[Session], Applicable],
    adapters: tuple[Adapter, ...],
    evidence: "Callable[[Session], Matrix] | None",
    *,
    thinks: bool = False,
) -> Callable[[Session], SessionTask]:
    """Return a function that makes a task of a session.

    Args:
        evidence: says how likely the pairs of a session are by other sessions.
        thinks: whether a thought is written before a list.
    """

    def task(session: Session) -> SessionTask:
        # Looked up now: another thread may request the prompt, and a connection belongs to one thread.
        make_prompt = partial(session_prompt, session, knowledge(session), has_evidence=evidence is not None)
        known = partial(_or_refused, evidence, session) if evidence is not None else None
        return SessionTask(session, len(session.items), make_prompt, adapters, known, thinks)

    return task


def _task_to_name(
    adapters: tuple[Adapter, ...], write_bundles: Callable[[Session], list[WrittenBundle]], session: Session
) -> SessionTask:
    """Make a task whose bundles are found without the model, which names them."""

    def find() -> list[WrittenBundle]:
        bundles = _or_refused(write_bundles, session)
        return [replace_fields(bundle, intent="", complete=False) for bundle in bundles]

    make_prompt = partial(session_prompt, session, Applicable())
    intents = IntentPrompt(INTENT_MESSAGES, partial(_intent_question, session))
    return SessionTask(session, len(session.items), make_prompt, adapters, intents=intents, find=find)


def _intent_question(session: Session, positions: Sequence[int]) -> str:
    return intent_question([session.items[position - 1] for position in positions])


_Found = TypeVar("_Found")


def _or_refused(find: Callable[[Session], _Found], session: Session) -> _Found:
    """Look something up for a session. If that fails, the student refuses only this session.

    Raises:
        ModelError: the session has too many products.
    """
    try:
        return find(session)
    except KdtuiError as problem:
        raise ModelError(str(problem)) from problem
