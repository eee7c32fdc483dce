"""A model's answers to validation examples, to be scored later by code that knows the sessions."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from models.sft.base import HubVocabulary
from models.sft.evaluation import score_examples, written_bundles
from models.sft.examples import Example
from models.sft.objective import Objective
from models.sft.writing import write_greedily

_MORE = 4
"""Tokens that an answer can have in addition to the longest correct answer."""


def answer_examples(
    objective: Objective,
    examples: Sequence[Example],
    vocabulary: HubVocabulary,
    tokens: int,
    device: torch.device,
    *,
    between: Callable[[], object] = lambda: None,
) -> list[dict[str, Any]]:
    """Return the answer to each example, in the order of the examples.

    Each has the loss of the true answer, `{"loss": 2.5}`, in nats per token, and one of:

    - `{"pairs": [[1, 2, 0.7], …]}`: the logit of yes minus that of no, for each pair that the example asks about;
    - `{"bundles": [[1, 3], …]}`: the bundles of a list;
    - `{"written": ["weekend camping", …]}`: if the bundles are given, the first line that is written after each.

    Args:
        tokens: of a batch.
        between: called repeatedly; it can raise an exception to end this.
    """
    answers: list[dict[str, Any]] = [{} for _ in examples]
    places = {id(example): at for at, example in enumerate(examples)}
    others = []
    for scored in score_examples(objective, examples, vocabulary, tokens, device):
        answer = answers[places[id(scored.example)]]
        answer["loss"] = scored.loss / scored.example.learned
        if scored.scores:
            answer["pairs"] = [[*pair, score] for pair, score in sorted(scored.scores.items())]
        else:
            others.append(scored.example)
        between()
    listed = [each for each in others if each.bundles is not None]
    for example, bundles in zip(
        listed, written_bundles(objective.model, listed, vocabulary, tokens, device, between=between), strict=True
    ):
        answers[places[id(example)]]["bundles"] = [sorted(each) for each in bundles]
    given = [each for each in others if each.bundles is None]
    # Before the training the model does not know when to stop.
    most = max((branch.learned for each in given for branch in each.branches), default=0) + _MORE
    prompts = [
        (*each.prompt, *branch.tokens[: len(branch.tokens) - branch.learned])
        for each in given
        for branch in each.branches
    ]
    texts = iter(
        write_greedily(objective.model, prompts, vocabulary, device, most=most, tokens=tokens, between=between)
    )
    for example in given:
        lines = [next(texts).strip().split("\n")[0].strip() for _ in example.branches]
        answers[places[id(example)]]["written"] = lines
    return answers
