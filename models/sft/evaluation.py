"""Evaluation on validation examples during the training: the loss, and the pair F1 of the answers."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import torch

from models.prompt_format import NO, YES
from models.sft.base import HubVocabulary
from models.sft.examples import Example, batches
from models.sft.objective import Objective, collate
from models.sft.writing import write_greedily

_GRID = tuple(number / 50 for number in range(5, 48))
"""The thresholds to try: probabilities from which on two products count as a pair."""

_MAX_LIST_TOKENS = 512
"""Tokens of a list with the thought before it."""


@dataclass(frozen=True, slots=True)
class ValidationScores:
    """The scores of a model on validation examples.

    Attributes:
        loss: mean over the tokens of all answers, in nats.
        pair_f1: mean over sessions, 0..1; None if no example has the true bundles. For questions about pairs it is the
            value at the best threshold, for lists that of the greedy answer.
    """

    loss: float
    pair_f1: float | None

    @property
    def value(self) -> float:
        """The criterion of the best checkpoint; larger is better, and of equal ones the one with the lower loss."""
        return -self.loss if self.pair_f1 is None else self.pair_f1


def evaluate_model(
    objective: Objective,
    examples: Sequence[Example],
    vocabulary: HubVocabulary,
    tokens: int,
    device: torch.device,
    *,
    between: Callable[[], object] = lambda: None,
) -> ValidationScores:
    """Evaluate on these examples in batches of `tokens` tokens.

    Args:
        between: called after each example that is read and each batch of lists that is written; it can raise an
            exception to end this.
    """
    judged = []
    for each in score_examples(objective, examples, vocabulary, tokens, device):
        judged.append(each)
        between()
    known = [each for each in judged if each.example.bundles is not None]
    asked = [(each.example, each.scores) for each in known if each.scores]
    values = _pair_f1_of_scores(asked) if asked else []
    listed = [each.example for each in known if not each.scores]
    bundles = written_bundles(objective.model, listed, vocabulary, tokens, device, between=between)
    values += [
        _pair_f1(_pairs(listed_bundles), example) for example, listed_bundles in zip(listed, bundles, strict=True)
    ]
    loss, answers = sum(each.loss for each in judged), sum(each.example.learned for each in judged)
    return ValidationScores(loss / answers, sum(values) / len(values) if values else None)


@dataclass(frozen=True, slots=True)
class ScoredExample:
    """The scores of a model for an example.

    Attributes:
        loss: sum over the tokens of its answers, in nats.
        scores: for each pair that it asks about, the logit of yes minus that of no.
    """

    example: Example
    loss: float
    scores: dict[tuple[int, int], float]


def score_examples(
    objective: Objective, examples: Sequence[Example], vocabulary: HubVocabulary, tokens: int, device: torch.device
) -> Iterator[ScoredExample]:
    """Score examples in batches of `tokens` tokens; they are yielded in another order."""
    yes, no = vocabulary.tokenize(YES), vocabulary.tokenize(NO)
    apart = next(at for at in range(min(len(yes), len(no))) if yes[at] != no[at])
    among = torch.tensor([yes[apart], no[apart]], device=device)
    for batch in batches(examples, tokens):
        log_probabilities, chosen = objective.log_probabilities(collate(batch).to(device), among)
        odds = (chosen[:, 0] - chosen[:, 1]).tolist()
        place = 0
        for example in batch:
            first, scores = place, {}
            for branch in example.branches:
                if branch.pair is not None:
                    scores[branch.pair] = odds[place + apart]
                place += branch.learned
            yield ScoredExample(example, -float(log_probabilities[first:place].sum()), scores)


def _pair_f1_of_scores(judged: Sequence[tuple[Example, dict[tuple[int, int], float]]]) -> list[float]:
    """Return the pair F1 of each session at the threshold that is best for all of them."""

    def values(probability: float) -> list[float]:
        least = torch.logit(torch.tensor(probability)).item()
        return [
            _pair_f1({pair for pair, score in scores.items() if score >= least}, example) for example, scores in judged
        ]

    return max(map(values, _GRID), key=sum)


def _pair_f1(predicted: set[tuple[int, int]], example: Example) -> float:
    """Return 2|P∩T| / (|P|+|T|) over the pairs of products that share a bundle; 1 if there are none in either."""
    true = _pairs(example.bundles or ())
    return 2 * len(predicted & true) / (len(predicted) + len(true)) if predicted or true else 1.0


def _pairs(bundles: Iterable[Iterable[int]]) -> set[tuple[int, int]]:
    return {pair for bundle in bundles for pair in combinations(sorted(bundle), 2)}


def written_bundles(
    model: Any,
    examples: Sequence[Example],
    vocabulary: HubVocabulary,
    tokens: int,
    device: torch.device,
    *,
    between: Callable[[], object] = lambda: None,
) -> list[list[set[int]]]:
    """Return the bundles that the model lists greedily for each example; malformed lines are left out."""
    # A model that does not know when to stop is cut off at twice the length of the longest true answer.
    most = min(_MAX_LIST_TOKENS, 2 * max((example.learned for example in examples), default=0))
    prompts = [example.prompt for example in examples]
    texts = write_greedily(model, prompts, vocabulary, device, most=most, tokens=tokens, between=between)
    return [_bundles_in(text) for text in texts]


def _bundles_in(text: str) -> list[set[int]]:
    bundles: defaultdict[int, set[int]] = defaultdict(set)
    for number, line in enumerate(text.splitlines()):
        for part in line.partition(":")[0].split(","):
            if part.strip().isdecimal():
                bundles[number].add(int(part))
    return [bundle for bundle in bundles.values() if len(bundle) > 1]
