"""Explain what a student is asked about a session, word for word, and with which knowledge. Importing this is cheap."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

from kdtui.distill.applicable import AICL, Applicable
from models.bundle_list import WrittenBundle
from models.messages import Message
from models.prompt_format import pair_question
from models.student_protocol import Form, SessionTask, StrategyName
from store.records import Session

if TYPE_CHECKING:
    from kdtui.distill.pattern_student import PatternStudent
    from kdtui.distill.retrieval import Nearest
    from models.llama.student import Student


@dataclass(frozen=True, slots=True)
class PromptExplanation:
    """What a student is asked about a session.

    Attributes:
        how: how the prompt and the questions are used, in a sentence or two.
        prompt: as the model reads it; empty for a student that reads none.
        questions: that follow the prompt, each asked separately.
        knowledge: in the prompt, a line for each piece.
        numbers: of its rules and thoughts.
        bundles: bundles that are found without asking, each with its confidence.
        pairs: how likely each pair of products is to share a bundle, for a student that is asked nothing.
    """

    how: str
    prompt: str
    questions: tuple[str, ...] = ()
    knowledge: tuple[str, ...] = ()
    numbers: tuple[int, ...] = ()
    bundles: tuple[str, ...] = ()
    pairs: tuple[str, ...] = ()

    @property
    def sections(self) -> list[tuple[str, str]]:
        """All parts, under headings."""
        headed = [
            ("how", self.how),
            ("knowledge", "\n".join(self.knowledge) or "none"),
            ("prompt", self.prompt),
            ("questions", "   ".join(self.questions)),
            ("bundles found", "   ".join(self.bundles)),
            ("pairs", "   ".join(self.pairs)),
        ]
        return [(heading, text) for heading, text in headed if text]


def explain_model(
    student: "Student", task: SessionTask, knowledge: Applicable, strategy: StrategyName
) -> PromptExplanation:
    """Explain what a local language model reads, after its chat template."""
    if task.intents is not None:
        return _explain_intents(student, task)
    form: Form = "pairs" if strategy == "pairs" else "list"
    evidence = task.evidence() if task.evidence is not None and strategy == "pairs" else None
    questions: list[str] = []
    bundles: tuple[str, ...] = ()
    match strategy:
        case "pairs" if task.find is not None:
            bundles = _bundles(task)
            how = (
                "The bundles are those that the pair model finds. The student reads this prompt to write "
                "an intent for each bundle, and is not asked about pairs."
            )
        case "pairs":
            questions = [
                pair_question(one, other, None if evidence is None else float(evidence[one - 1, other - 1]))
                for one, other in combinations(task.in_order, 2)
            ]
            how = "The prompt is read once. After it, each question is asked separately, and yes is weighed against no."
            if evidence is not None:
                how += " The percentage in a question is how likely the two belong together, by the pair model."
            how += " Products that belong together make the bundles, and the student writes an intent for each."
        case "drafts":
            how = (
                "The student samples eight lists, with the products in another order each time; this is the "
                "prompt of the first. What the lists agree on makes the bundles."
            )
        case "list":
            how = "The student writes the list of bundles after the prompt, and can write nothing else."
    # Patterns that the questions use are not in the prompt.
    return PromptExplanation(
        how,
        student.rendered(task.make_prompt(form, task.in_order)),
        questions=tuple(questions),
        bundles=bundles,
        knowledge=tuple(_lines(knowledge, task, has_hints=task.evidence is None or form != "pairs")),
        numbers=knowledge.numbers,
    )


def _explain_intents(student: "Student", task: SessionTask) -> PromptExplanation:
    assert task.intents is not None
    assert task.find is not None
    bundles = task.find() if task.products > 1 else ()
    prompt = student.rendered(task.intents.messages) + (task.intents.question(bundles[0].positions) if bundles else "")
    return PromptExplanation(
        "The bundles are those that the pair model finds. The student reads this prompt, which ends with "
        "the products of the first bundle, and writes its intent; then it is asked about the next one in the same way.",
        prompt,
        bundles=tuple(map(_bundle, bundles)),
    )


def _bundles(task: SessionTask) -> tuple[str, ...]:
    assert task.find is not None
    return tuple(map(_bundle, task.find())) if task.products > 1 else ()


def _bundle(bundle: WrittenBundle) -> str:
    return f"{', '.join(map(str, bundle.positions))}: {bundle.confidence:.0%}"


def explain_endpoint(task: SessionTask, knowledge: Applicable) -> PromptExplanation:
    """Explain what is sent to an endpoint."""
    how = "These messages are sent. The server puts them into its own chat template, and must answer in JSON."
    return PromptExplanation(
        how,
        _conversation(task.make_prompt("json", task.in_order)),
        knowledge=tuple(_lines(knowledge, task, has_hints=True)),
        numbers=knowledge.numbers,
    )


def explain_aicl(nearest: "Nearest", session: Session) -> PromptExplanation:
    """Explain what is sent to an endpoint that learns from the nearest session by a conversation."""
    # Imported here: the conversations come with a schema validator.
    from kdtui.distill.conversations import detection_prompt

    near = nearest(session, 1)
    how = (
        "First the model bundles the nearest training session, corrects itself, gets its errors and states rules. "
        "That conversation precedes this last message; its text depends on the answers."
    )
    return PromptExplanation(
        how,
        _conversation([detection_prompt(session, [])]),
        knowledge=tuple(f"demonstration: session {each}" for each in near),
    )


def explain_patterns(student: "PatternStudent", session: Session) -> PromptExplanation:
    """Explain how the pattern student, which reads no prompt, judges each pair of products."""
    judged = student.pair_probabilities(session)
    pairs = combinations(range(1, len(session.items) + 1), 2)
    return PromptExplanation(
        "There is no prompt. The probability of each pair of products is computed from their categories and titles and "
        "from the training sessions. The best of several ways to group the products is chosen.",
        "",
        pairs=tuple(f"{one},{other} {judged[one - 1, other - 1]:.0%}" for one, other in pairs),
    )


def _lines(knowledge: Applicable, task: SessionTask, *, has_hints: bool) -> Iterable[str]:
    """Yield the knowledge in a prompt."""
    session = task.key
    assert isinstance(session, Session)
    if has_hints:
        for match in knowledge.hints(session):
            yield f"pattern: {match.pattern.statement}, for {', '.join(map(str, match.positions))}"
    else:
        yield "patterns: in the questions"
    for rule in knowledge.rules:
        yield f"rule {rule.number}: {rule.value.text}"
    for thought in knowledge.thoughts:
        yield f"thought {thought.number}: {thought.value.statement}"
    for demonstration in knowledge.demonstrations:
        yield f"demonstration ({AICL}): session {demonstration.id}"


def _conversation(messages: Iterable[Message]) -> str:
    return "\n\n".join(f"[{message.role}]\n{message.content}" for message in messages)
