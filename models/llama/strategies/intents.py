"""Intents of known bundles, each written after a question about its own products.

A bundle is read by itself, which takes a few dozen tokens, instead of the whole session with all knowledge about it.
The instructions are the same for all bundles of all sessions.
"""

from collections.abc import Sequence
from dataclasses import replace

from models.bundle_list import WrittenBundle
from models.chat import ChatTokenizer
from models.llama.answer_tokens import INTENT_TOKENS, AnswerTokens
from models.llama.decoding import Branch, Program, together
from models.llama.engine import AnswerPlan, Workspace
from models.llama.strategies.base import Emit
from models.llama.strategies.writing import write_intent
from models.student_protocol import IntentPrompt, SessionTask
from models.vocabulary import Token

WIDTH = 15
"""Questions that are read at a time: they fill a batch together with those of a few other sessions."""


class IntentsStrategy:
    """Names bundles that are found without the model."""

    def plan(self, task: SessionTask, chat: ChatTokenizer, answer: AnswerTokens, _: int, emit: Emit) -> AnswerPlan:
        """Plan one branch for each of several bundles."""
        assert task.intents is not None
        if task.bundles is not None:
            return plan_intents(task.intents, task.bundles, chat, answer, emit)
        assert task.find is not None
        bundles = task.find()
        for bundle in bundles:
            emit(bundle)
        return plan_intents(task.intents, bundles, chat, answer, emit)


def plan_intents(
    asked: IntentPrompt, bundles: Sequence[WrittenBundle], chat: ChatTokenizer, answer: AnswerTokens, emit: Emit
) -> AnswerPlan:
    """Plan to write the intents of these bundles; without a bundle nothing is read.

    Args:
        emit: gets each bundle while its intent grows.
    """
    prompt = chat.prompt(asked.messages)
    questions = [(bundle, answer.spell(asked.question(bundle.positions))) for bundle in bundles]
    parts = [questions[first : first + WIDTH] for first in range(0, len(questions), WIDTH)]
    cells = max((sum(len(question) + INTENT_TOKENS + 1 for _, question in part) for part in parts), default=0)

    def start(workspace: Workspace) -> Program[list[WrittenBundle]]:
        written: list[WrittenBundle] = []
        for part in parts:
            written += yield from together(
                [with_intent(answer, workspace, workspace.open(), question, bundle, emit) for bundle, question in part]
            )
        return written

    return AnswerPlan((*prompt.shared, *prompt.own), cells, min(WIDTH, len(bundles)) + 1, start)


def with_intent(
    answer: AnswerTokens,
    workspace: Workspace,
    branch: Branch,
    question: Sequence[Token],
    bundle: WrittenBundle,
    emit: Emit,
) -> Program[WrittenBundle]:
    """Write the intent of a bundle after its question on this branch, and drop the branch."""
    branch.given += len(question)
    intent, _ = yield from write_intent(
        answer, branch, question, [answer.newline, answer.end], lambda intent: emit(replace(bundle, intent=intent))
    )
    workspace.drop(branch)
    complete = replace(bundle, intent=intent, complete=True)
    emit(complete)
    return complete
