"""Who answers: the embedded student, any GGUF file, or the pattern student; each with the knowledge it is given.

Importing this is cheap, so that a screen or a command can check settings before it loads anything.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from dataclasses import replace as replace_fields
from functools import partial
from pathlib import Path
from time import perf_counter, sleep
from typing import TYPE_CHECKING, Literal, TypeVar, cast

from msgspec.structs import replace
from platformdirs import user_cache_path

from kdtui.bundling.intent_prompt import INTENT_MESSAGES, intent_question
from kdtui.bundling.prompt import session_messages
from kdtui.distill.applicable import AICL, Applicable, roughly
from kdtui.errors import KdtuiError
from kdtui.workflows.adapters.manifest import training_of
from kdtui.workflows.costs import Budget, Prices, check_budget
from kdtui.workflows.student.explain import Explanation, explain_aicl, explain_endpoint, explain_model, explain_patterns
from kdtui.workflows.student.learning import Tell, untold
from kdtui.workflows.student.limits import check_intent_writer, why_no_knowledge, why_no_strategy
from kdtui.workflows.student.model_names import (
    PATTERNS,
    check_address,
    in_full,
    is_endpoint,
    is_file,
    located_model,
    router_in,
)
from models.bundle_list import WrittenBundle
from models.completion import NO_TOKENS
from models.embedded import NAME, SHIPPED, shipped_adapter
from models.errors import ModelError
from models.messages import Message
from models.student_protocol import (
    NAP,
    STRATEGIES,
    Adapter,
    Answered,
    Form,
    Grew,
    IntentPrompt,
    Refused,
    StrategyName,
    StudentEvent,
    Task,
)
from store.records import FORMATS, RunSettings, Session
from store.similar import meant

if TYPE_CHECKING:
    from kdtui.distill.routing import Choice
    from models.llama.loading import Loading
    from models.llama.student import Student
    from models.pairs.calibration import Calibration
    from models.pairs.clustering import Matrix
    from store.calibrations import StoredCalibration
    from store.sqlite import Database

_LARGEST_SCALE = 1e38
"""About the largest number of 32 bits, with which llama.cpp computes."""

_SESSIONS_AT_ONCE = 512
"""Sessions that the pattern student judges together: more make it hardly faster."""

_PAIRS_AT_ONCE = 20_000
"""Pairs of products in these: a larger session is judged by itself, and an interrupt does not wait for many."""

DEFAULT_STRATEGY: StrategyName = "list"
"""For students that have not been calibrated on the dataset."""


@dataclass(frozen=True, slots=True)
class SessionStudent:
    """A student that is ready to answer.

    Attributes:
        name: tells it, and its knowledge, from others in a table.
        answer: takes sessions, or None where there is none at the moment, and yields events whose key is the session.
        explain: what it is asked about a session, and with what knowledge.
        costs_nothing: whether its answers take milliseconds and are free, so that some may be found again.
        choose: which of its adapters answers a session, and why; None for a student that has no choice.
    """

    name: str
    answer: Callable[[Iterable[Session | None]], Iterator[StudentEvent]]
    explain: Callable[[Session], Explanation]
    costs_nothing: bool = False
    choose: "Callable[[Session], Choice] | None" = None


def settings_for(
    student: str,
    knowledge: tuple[str, ...] = (),
    *,
    limit: int | None = None,
    seed: int | None = None,
    context: int | None = None,
    strategy: str | None = None,
    adapters: tuple[tuple[str, float], ...] | None = None,
    sample: str | None = None,
    neighbours: int | None = None,
    budget: int | None = None,
    near: str | None = None,
    domains: Literal["own", "all"] = "own",
) -> RunSettings:
    """Settings for a student as a user names it; files are named in full, to be found from any folder.

    Args:
        seed: by which `limit` sessions are drawn; None for 0.
        adapters: instead of the one that the shipped student has; None for that one.
    """
    located = tuple((in_full(adapter), scale) for adapter, scale in adapters or ())
    if student == SHIPPED and adapters is not None:
        student = NAME
    near = None if near is None else in_full(near)
    seed = None if limit is None else seed or 0
    return RunSettings(
        in_full(student),
        knowledge,
        limit,
        context,
        strategy,
        located,
        sample,
        neighbours,
        budget,
        near,
        seed,
        domains=domains,
    )


def base_name(settings: RunSettings) -> str:
    """What to call the model of a student, without what is added to it."""
    if is_endpoint(settings.student):
        address, _, model = settings.student.partition("#")
        # A password, which check_settings refuses, is no part of a name.
        host = address.split("/")[2].rpartition("@")[2]
        return f"{model} at {host}" if model else host
    return Path(settings.student).stem if is_file(settings.student) else settings.student


def adapter_names(settings: RunSettings) -> list[str]:
    """What to call the adapters of a student, each with its scale where that is not 1."""
    return [Path(path).stem + ("" if scale == 1 else f" x {scale:g}") for path, scale in settings.adapters]


def student_name(settings: RunSettings) -> str:
    """What to call a student with these settings."""
    usual = "pairs" if settings.student == SHIPPED else DEFAULT_STRATEGY
    strategy = [settings.strategy] if settings.strategy not in (None, usual) else []
    knowledge = [f"{'+'.join(settings.knowledge)} of {settings.sample}"] if settings.sample else settings.knowledge
    near = [f"near by {Path(settings.near).stem}"] if settings.near else []
    near += ["all domains"] if settings.domains == "all" else []
    return " + ".join([base_name(settings), *adapter_names(settings), *knowledge, *near, *strategy])


def check_settings(settings: RunSettings, dataset: str | None) -> None:
    """Refuse what no student can do, before anything is loaded.

    Raises:
        KdtuiError: the settings contradict each other, or need a dataset and there is none.
    """
    unknown = [format for format in settings.knowledge if format not in FORMATS]
    if unknown:
        there_are = f"there are: {', '.join(FORMATS)}"
        raise KdtuiError(f"there is no format {unknown[0]!r} of knowledge; {meant(unknown[0], FORMATS, there_are)}")
    neighbours = settings.neighbours if settings.strategy != AICL else None
    near = settings.near if settings.strategy != AICL else None
    given = {
        "--sample": settings.sample,
        "--domains": settings.domains == "all",
        "--neighbours": neighbours,
        "--near": near,
        "--budget": settings.budget,
    }
    about_knowledge = [option for option, value in given.items() if value]
    shown_none = why_no_knowledge(settings.student)
    if shown_none is not None and (settings.knowledge or about_knowledge):
        named = " and ".join([*(["--knowledge"] if settings.knowledge else []), *about_knowledge])
        instead = f", or use --student {NAME}" if settings.student == SHIPPED else ""
        raise KdtuiError(f"{shown_none}; leave out {named}{instead}")
    if about_knowledge and not settings.knowledge:
        options = " and ".join(about_knowledge)
        verb = "is" if len(about_knowledge) == 1 else "are"
        # An endpoint that is asked by AICL is shown none.
        is_shown_none = is_endpoint(settings.student) and settings.strategy == AICL
        what = f"leave out {options}" if is_shown_none else "say which with --knowledge"
        raise KdtuiError(f"{options} {verb} about knowledge that a student is shown; {what}")
    if settings.domains == "all" and settings.sample is None:
        raise KdtuiError(
            "--domains all shows what a sample has of several datasets; name one with --sample, or draw one with: "
            "kdtui sample create NAME --dataset ONE --dataset ANOTHER"
        )
    if settings.student == PATTERNS and (settings.strategy or settings.adapters or settings.context):
        raise KdtuiError(f"{why_no_strategy(PATTERNS)}; leave out --strategy, --adapter and --context")
    if (router := router_in(settings)) is not None:
        _check_routed(settings, router, about_knowledge)
    for path, scale in settings.adapters:
        if not abs(scale) <= _LARGEST_SCALE:
            raise KdtuiError(f"{path}: an adapter acts with a number such as 0.5, not {scale:g}")
    if is_endpoint(settings.student):
        if settings.strategy not in (None, AICL) or settings.adapters or settings.context:
            raise KdtuiError(
                "an endpoint answers in its own way; leave out --strategy (but aicl), --adapter and --context, and "
                "name an adapter that it serves as the model: URL#MODEL"
            )
        if settings.strategy == AICL and settings.knowledge:
            raise KdtuiError("with aicl an endpoint learns from the nearest session; leave out --knowledge")
        check_address(settings.student)
    if settings.strategy is not None and settings.strategy not in (*STRATEGIES, AICL):
        strategies = (*STRATEGIES, AICL)
        there_are = f"there are: {', '.join(strategies)}"
        raise KdtuiError(
            f"there is no strategy {settings.strategy!r}; {meant(settings.strategy, strategies, there_are)}"
        )
    if settings.student == SHIPPED and settings.strategy not in (None, "pairs"):
        raise KdtuiError(f"{why_no_strategy(SHIPPED)}; for other strategies use --student {NAME}")
    prices = Prices(settings.prompt_price, settings.answer_price)
    check_budget(Budget(), prices)
    if prices.are_known and not is_endpoint(settings.student):
        raise KdtuiError(
            "--prompt-price and --answer-price are those of an endpoint, and this student is free; leave them out"
        )
    if dataset is None and (settings.knowledge or settings.strategy == AICL):
        raise KdtuiError("say which dataset to learn from, with --dataset")


def _check_routed(settings: RunSettings, router: str, about_knowledge: Sequence[str]) -> None:
    """Refuse what a router decides by itself."""
    if len(settings.adapters) > 1 or settings.adapters[0][1] != 1:
        raise KdtuiError(f"router {router!r} chooses one of its adapters; give no other --adapter, and no scale")
    if settings.knowledge or about_knowledge:
        named = " and ".join([*(["--knowledge"] if settings.knowledge else []), *about_knowledge])
        raise KdtuiError(f"router {router!r} shows each adapter what it was trained with; leave out {named}")
    if settings.strategy not in (None, "list"):
        raise KdtuiError(f"the adapters of router {router!r} write lists of bundles; leave out --strategy")


@contextmanager
def open_student(
    db: "Database | None",
    dataset: str | None,
    settings: RunSettings,
    tell: Tell = untold,
) -> Iterator[SessionStudent]:
    """Load a student with its knowledge, and free it afterwards. To be used from one thread.

    Args:
        db: the store; None where no dataset is needed.
        dataset: whose training sessions, patterns and calibrations the student uses.
        tell: gets what takes long, or cannot be done as usual.

    Raises:
        KdtuiError: the settings are refused, or what they need is not there.
        ModelError: the model cannot be loaded.
    """
    check_settings(settings, dataset)
    check_intent_writer(db, settings)
    name = student_name(settings)
    if router_in(settings) is not None:
        from kdtui.workflows.student.routed import open_routed

        assert db is not None
        with open_routed(db, dataset, settings, tell) as routed:
            yield routed
        return
    if settings.student == PATTERNS:
        # Imported here: with the records of the store it takes a tenth of a second.
        from kdtui.workflows.student.pair_evidence import open_pattern_student

        with open_pattern_student(db, dataset, tell) as fitted:
            answer_patterns = partial(_in_batches, fitted.write_many)
            yield SessionStudent(name, answer_patterns, partial(explain_patterns, fitted), costs_nothing=True)
        return
    if is_endpoint(settings.student):
        from models.endpoint.chat_server import Endpoint

        url, _, model = settings.student.partition("#")
        if settings.strategy == AICL:
            from kdtui.workflows.student.aicl import answer_by_aicl
            from kdtui.workflows.student.nearest import nearest_for

            assert db is not None
            assert dataset is not None
            nearest = nearest_for(db, dataset, settings)
            yield SessionStudent(
                name,
                partial(answer_by_aicl, db, dataset, Endpoint(url, model or None), nearest),
                partial(explain_aicl, nearest),
            )
            return
        from models.endpoint.student import EndpointStudent

        knowledge = retriever(db, dataset, settings, roughly)
        task = task_maker(knowledge, (), None)
        with EndpointStudent(Endpoint(url, model or None)) as remote:
            yield SessionStudent(
                name,
                lambda sessions: remote.answer(None if each is None else task(each) for each in sessions),
                lambda session: explain_endpoint(task(session), knowledge(session)),
            )
        return
    with open_model(db, dataset, settings, tell) as opened:
        from models.pairs.bundles import PairBundles, bundles_first

        used, calibration = _strategy(db, dataset, settings)
        judge = PairBundles(calibration) if used == "pairs" and calibration is not None else None

        def task_of(session: Session) -> Task:
            task = opened.task(session)
            if judge is None or judge.needs_scores or task.find is not None or task.evidence is None:
                return task
            return replace_fields(task, find=partial(judge.of_evidence, task))

        def answer_tasks(tasks: Iterable[Task | None]) -> Iterator[StudentEvent]:
            from models.llama.strategies import make_strategy
            from models.llama.strategies.intents import Intents

            strategy = Intents() if opened.names else make_strategy(used, calibration)
            return opened.student.answer(tasks, strategy)

        finds_alone = opened.names or (judge is not None and opened.has_evidence and not judge.needs_scores)
        if not finds_alone:
            # What cannot be loaded is to be known now.
            opened.loading.result()

        def answer(sessions: Iterable[Session | None]) -> Iterator[StudentEvent]:
            tasks = (None if session is None else task_of(session) for session in sessions)
            return (
                bundles_first(tasks, lambda: opened.loading.done, answer_tasks) if finds_alone else answer_tasks(tasks)
            )

        def explain(session: Session) -> Explanation:
            return explain_model(opened.student, task_of(session), opened.knowledge(session), used)

        yield SessionStudent(name, answer, explain)


@dataclass(frozen=True, slots=True)
class OpenModel:
    """A language model that is loaded, or is being loaded.

    Attributes:
        loading: what waits for the model.
        task: makes a task of a session, with the knowledge that the student is given.
        knowledge: what of it applies to a session.
        has_evidence: whether tasks tell how likely their pairs are by other sessions.
        names: whether its adapter writes intents alone, of bundles that tasks find without the model.
    """

    loading: "Loading[Student]"
    task: Callable[[Session], Task]
    knowledge: Callable[[Session], Applicable]
    has_evidence: bool
    names: bool

    @property
    def student(self) -> "Student":
        """The model, waited for."""
        return self.loading.result()


@contextmanager
def open_model(db: "Database | None", dataset: str | None, settings: RunSettings, tell: Tell) -> Iterator[OpenModel]:
    """The language model of these settings; otherwise as `open_student`.

    It may turn out later, where the model is used, that it cannot be loaded.
    """
    from models.files.provenance import adapter_manifest
    from models.llama.loading import Loading

    cache = user_cache_path("kdtui")
    adapters = tuple(Adapter(_adapter_file(db, adapter), scale) for adapter, scale in _adapters(settings))
    path = None if settings.student == SHIPPED else located_model(db, settings.student)
    with ExitStack() as stack:
        loading = stack.enter_context(closing(Loading(partial(load_model, path, adapters, settings.context, cache))))
        manifests = [adapter_manifest(adapter.path, cache / "manifests") for adapter in adapters]
        trained = training_of(manifests[0]) if len(manifests) == 1 else None
        names = trained is not None and trained.form == "intents"
        patterns = None
        if names or uses_evidence(settings):
            from kdtui.workflows.student.pair_evidence import open_pattern_student

            patterns = stack.enter_context(open_pattern_student(db, dataset, tell))
        if settings.knowledge and not names:
            # Knowledge is cut to a number of its tokens.
            loading.result()
        knowledge = retriever(db, dataset, settings, lambda text: len(loading.result().model.tokenize(text)))
        task: Callable[[Session], Task]
        if names:
            assert patterns is not None
            task = partial(_task_to_name, adapters, patterns.write_bundles)
        else:
            evidence = None if patterns is None else patterns.pair_probabilities
            task = task_maker(knowledge, adapters, evidence, thinks=trained is not None and trained.target)
        yield OpenModel(loading, task, knowledge, patterns is not None and not names, names)


def load_model(path: Path | None, adapters: Sequence[Adapter], context: int | None, cache: Path) -> "Student":
    """Load a model, and see whether these adapters fit it: otherwise they would be refused by every session.

    Args:
        path: its file; None for the embedded one as it is fastest.

    Raises:
        ModelError: it cannot be loaded, or an adapter is for another one.
    """
    # Imported here: llama.cpp takes a while, in which others need not wait.
    from models.files.provenance import adapter_manifest, check_adapter
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


def _adapter_file(db: "Database | None", adapter: str) -> Path:
    if adapter == SHIPPED:
        return shipped_adapter()
    # Imported here: it knows all of trainings, which the usual student has no use for.
    from kdtui.workflows.training.jobs import adapter_file

    return adapter_file(db, adapter)


def _adapters(settings: RunSettings) -> tuple[tuple[str, float], ...]:
    return ((SHIPPED, 1.0),) if settings.student == SHIPPED else settings.adapters


def retriever(
    db: "Database | None", dataset: str | None, settings: RunSettings, count: Callable[[str], int]
) -> Callable[[Session], Applicable]:
    """What finds the knowledge that applies to a session with these settings; it may be none.

    Args:
        count: tokens of a text.
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
) -> Callable[[Session], Task]:
    """What makes a task of a session.

    Args:
        evidence: how likely the pairs of a session are by other sessions.
        thinks: whether a thought is written before a list.
    """

    def task(session: Session) -> Task:
        # Looked up here: the prompt may be asked for in another thread, and a connection belongs to one.
        ask = partial(prompt, session, knowledge(session), has_evidence=evidence is not None)
        known = partial(_or_refused, evidence, session) if evidence is not None else None
        return Task(session, len(session.items), ask, adapters, known, thinks)

    return task


def _task_to_name(
    adapters: tuple[Adapter, ...], write_bundles: Callable[[Session], list[WrittenBundle]], session: Session
) -> Task:
    """A task whose bundles are found without the model, which names them."""

    def find() -> list[WrittenBundle]:
        found = _or_refused(write_bundles, session)
        return [replace_fields(bundle, intent="", complete=False) for bundle in found]

    ask = partial(prompt, session, Applicable())
    intents = IntentPrompt(INTENT_MESSAGES, partial(_intent_question, session))
    return Task(session, len(session.items), ask, adapters, intents=intents, find=find)


def _intent_question(session: Session, positions: Sequence[int]) -> str:
    return intent_question([session.items[position - 1] for position in positions])


_Found = TypeVar("_Found")


def _or_refused(find: Callable[[Session], _Found], session: Session) -> _Found:
    """What is found of a session; where nothing can be, the student refuses this session, and no other.

    Raises:
        ModelError: the session has too many products.
    """
    try:
        return find(session)
    except KdtuiError as problem:
        raise ModelError(str(problem)) from problem


def uses_evidence(settings: RunSettings) -> bool:
    """Whether a question about a pair says how likely it is by the other sessions of the dataset; of a sample only its
    own patterns may be used."""
    return "pattern" in settings.knowledge and settings.sample is None


def shown_prompt(
    db: "Database", dataset: str, settings: RunSettings, session: Session
) -> tuple[Applicable, list[Message]]:
    """The knowledge that these settings give for a session, and the messages that a student would get.

    Raises:
        NotFound: there is no such dataset, or no such sample.
        KdtuiError: there is no knowledge of a format.
    """
    check_settings(settings, dataset)
    applicable = retriever(db, dataset, settings, roughly)(session)
    return applicable, prompt(session, applicable, "list", range(1, len(session.items) + 1))


def resolved(db: "Database | None", dataset: str | None, settings: RunSettings) -> RunSettings:
    """The settings with the strategy that they will use: to be stored, so that a run goes on as it began."""
    if settings.student == PATTERNS or is_endpoint(settings.student):
        return settings
    # AICL is a way to ask, and what is asked is a list.
    return settings if settings.strategy == AICL else replace(settings, strategy=_strategy(db, dataset, settings)[0])


def _strategy(
    db: "Database | None", dataset: str | None, settings: RunSettings
) -> "tuple[StrategyName, Calibration | None]":
    """The strategy of these settings, or the one that was chosen for this student, and how it is calibrated."""
    if settings.strategy == AICL:
        return DEFAULT_STRATEGY, None
    from store.calibrations import calibrations

    stored = calibrations(db, dataset, settings) if db is not None and dataset is not None else {}
    strategy = settings.strategy or next((each.strategy for each in stored.values() if each.chosen), None)
    if strategy is None:
        strategy = "pairs" if _is_trained_for_pairs(db, settings) else DEFAULT_STRATEGY
    found = stored.get(strategy)
    return cast("StrategyName", strategy), None if found is None else weights_of(found)


def weights_of(stored: "StoredCalibration") -> "Calibration":
    """The weights of a calibration.

    Raises:
        KdtuiError: they cannot be used.
    """
    import msgspec

    from models.pairs.calibration import Calibration

    try:
        found = msgspec.json.decode(stored.weights, type=Calibration)
    except msgspec.MsgspecError:
        found = None
    if found is None or not found.is_finite or (found.pairs is None and stored.strategy != "list"):
        raise KdtuiError(
            f"calibration {stored.number} of the strategy {stored.strategy} cannot be used, for its weights are no "
            f"numbers; delete it with: kdtui calibrate rm {stored.number}"
        )
    return found


def _is_trained_for_pairs(db: "Database | None", settings: RunSettings) -> bool:
    """Whether the only adapter of these settings was trained on questions about pairs, or on intents, which take the
    bundles from what is known of the pairs."""
    if settings.student == SHIPPED or len(settings.adapters) != 1 or router_in(settings) is not None:
        return settings.student == SHIPPED
    from kdtui.workflows.training.jobs import trained_with

    trained = trained_with(db, settings.adapters[0][0])
    return trained is not None and trained.form in ("pairs", "intents")


def _in_batches(
    write_many: "Callable[[Sequence[Session]], Sequence[list[WrittenBundle] | KdtuiError]]",
    sessions: Iterable[Session | None],
) -> Iterator[StudentEvent]:
    """Answer sessions, the first by itself, so that it is there at once, and then twice as many at a time as before."""
    source = iter(sessions)
    most = 1
    more = True
    while more:
        batch: list[Session] = []
        pairs = 0
        while len(batch) < most and pairs < _PAIRS_AT_ONCE:
            try:
                session = next(source)
            except StopIteration:
                more = False
                break
            if session is None:
                if not batch:
                    sleep(NAP)
                break
            batch.append(session)
            pairs += len(session.items) ** 2 // 2
        if not batch:
            continue
        started = perf_counter()
        found = write_many(batch)
        seconds = (perf_counter() - started) / len(batch)
        for session, bundles in zip(batch, found, strict=True):
            if isinstance(bundles, KdtuiError):
                yield Refused(session, str(bundles), seconds, NO_TOKENS)
                continue
            for bundle in bundles:
                yield Grew(session, bundle)
            yield Answered(session, bundles, seconds, NO_TOKENS)
        most = min(2 * most, _SESSIONS_AT_ONCE)


def prompt(
    session: Session, knowledge: Applicable, form: Form, order: Sequence[int], *, has_evidence: bool = False
) -> list[Message]:
    """What the student is shown of a session, its products in this order, with the knowledge that applies to it.

    Args:
        has_evidence: what the patterns say stands in the questions about pairs.
    """
    if has_evidence and form == "pairs":
        knowledge = replace_fields(knowledge, patterns=())
    ordered = Session(session.id, tuple(session.items[position - 1] for position in order))
    hints = [(match.positions, match.pattern.categories[-1][-1]) for match in knowledge.hints(ordered)]
    return session_messages(
        ordered,
        hints,
        form,
        rules=knowledge.rule_lines(ordered),
        examples=knowledge.examples(),
        demonstrations=knowledge.demonstrations,
    )
