"""A choice among a few texts as the answer to a prompt: the one whose first token is likeliest."""

from collections.abc import Callable, Sequence
from functools import partial

from models.bundle_list import WrittenBundle
from models.chat import ChatTokenizer
from models.errors import ModelError
from models.llama.answer_tokens import AnswerTokens
from models.llama.decoding import Logits, Program, Read
from models.llama.engine import AnswerPlan, Workspace
from models.student_protocol import SessionTask
from models.vocabulary import Token


def plan_choice(
    task: SessionTask,
    chat: ChatTokenizer,
    answer: AnswerTokens,
    lead: str,
    choices: Sequence[str],
    take: Callable[[int], None],
) -> AnswerPlan:
    """Plan a branch with the prompt and the beginning of the answer.

    Args:
        lead: the beginning of every answer.
        choices: the continuations.
        take: gets the number of the choice.

    Raises:
        ModelError: two choices begin with the same token in this vocabulary.
    """
    prompt = chat.prompt(task.make_prompt("json", task.in_order))
    # Tokenized as one text: a token can span the border of two words.
    spelled = [answer.spell(lead + choice) for choice in choices]
    same = next(at for at in range(min(map(len, spelled))) if len({each[at] for each in spelled}) > 1)
    firsts = [each[same] for each in spelled]
    if len(set(firsts)) < len(choices):
        raise ModelError("the vocabulary of this model cannot tell the choices apart by one token")
    read = (*prompt.own, *spelled[0][:same])

    def start(workspace: Workspace) -> Program[list[WrittenBundle]]:
        branch = workspace.open()
        branch.given, branch.written = len(read), 1
        [chosen] = yield [Read(branch, read, partial(_likeliest, firsts))]
        take(chosen)
        return []

    return AnswerPlan(prompt.shared, len(read), 1, start)


def _likeliest(tokens: Sequence[Token], logits: Logits) -> int:
    return int(logits[0][list(tokens)].argmax())
