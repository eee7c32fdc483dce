"""Training examples: prompts about a session, and the completions to learn.

`models.sft.examples` defines the format of a line: a prompt, and the completions that follow it.
"""

import json
from collections.abc import Iterator, Sequence
from itertools import combinations
from random import Random
from typing import Any

from kdtui.bundling.intent_prompt import INTENT_MESSAGES, intent_question
from kdtui.bundling.metrics import pairs
from kdtui.bundling.truth import minimal_bundles, true_bundles
from kdtui.distill.intent_target import intent_target
from kdtui.text import one_line
from models.messages import Message
from models.pairs.clustering import Matrix
from models.prompt_format import NO, THOUGHT, YES, pair_question
from store.records import Bundle, Session

_INTENT_LENGTH = 60
"""Characters; annotated intents have three to five words."""


def shuffled(size: int, seed: object) -> list[int]:
    """Return the positions 1 to `size` in a random order that depends only on the seed."""
    order = list(range(1, size + 1))
    Random(str(seed)).shuffle(order)
    return order


def reordered(session: Session, order: Sequence[int]) -> Session:
    """Return the session with its products in another order, and its bundles adjusted."""
    position_of = {position: number for number, position in enumerate(order, start=1)}
    bundles = tuple(
        Bundle(tuple(sorted(position_of[position] for position in bundle.positions)), bundle.intent)
        for bundle in session.bundles
    )
    return Session(session.id, tuple(session.items[position - 1] for position in order), bundles, session.split)


def pair_completions(session: Session, evidence: Matrix | None) -> list[dict[str, Any]]:
    """Return a question for each pair of products, and the intent of each true bundle, as the strategy `pairs` asks.

    Args:
        evidence: probability that two products share a bundle, from their categories, (products, products).
    """
    bundled = pairs(true_bundles(session))
    asked: list[dict[str, Any]] = [
        {
            "given": pair_question(a, b, None if evidence is None else float(evidence[a - 1, b - 1])),
            "answer": YES if (a, b) in bundled else NO,
            "pair": [a, b],
        }
        for a, b in combinations(range(1, len(session.items) + 1), 2)
    ]
    named = [(bundle, intent) for bundle in minimal_bundles(session.bundles) if (intent := _intent(bundle))]
    return asked + [{"given": f"{_numbers(bundle)}:", "answer": f" {intent}", "end": True} for bundle, intent in named]


def list_completions(session: Session, thought: str | None = None) -> list[dict[str, Any]]:
    """Return the list of bundles, as the strategies `list` and `drafts` ask for it.

    Args:
        thought: written first, on a line of its own.
    """
    lines = [f"{_numbers(bundle)}: {_intent(bundle)}" for bundle in minimal_bundles(session.bundles)]
    if lines and thought is not None:
        lines.insert(0, f"{THOUGHT} {one_line(thought)}")
    return [{"given": "", "answer": "\n".join(lines), "end": True}] if lines else []


def intent_completions(session: Session) -> list[dict[str, Any]]:
    """Return the intent of each true bundle after its products: what a student writes for known bundles.

    If annotators wrote several intents for the same products, each becomes a completion.
    """
    return [
        {
            "given": intent_question([session.items[position - 1] for position in bundle.positions]),
            "answer": f" {intent_target(bundle.intent)}",
            "end": True,
        }
        for bundle in bundles_to_name(session)
    ]


def bundles_to_name(session: Session) -> list[Bundle]:
    """Return the true bundles with an intent to learn, in the order of `intent_completions`."""
    minimal = set(true_bundles(session))
    return [
        bundle
        for bundle in session.bundles
        if frozenset(bundle.positions) in minimal and intent_target(bundle.intent) is not None
    ]


def intent_example(session: Session) -> dict[str, Any]:
    """Return a training line about intents. It has no true bundles, as they are given in the prompt."""
    return {
        "session": session.id,
        "prompt": [{"role": message.role, "content": message.content} for message in INTENT_MESSAGES],
        "completions": intent_completions(session),
    }


def session_example(
    session: Session, prompt: Sequence[Message], completions: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """Return a training line; the session has its products in the order of the prompt."""
    return {
        "session": session.id,
        "prompt": [{"role": message.role, "content": message.content} for message in prompt],
        "completions": list(completions),
        "bundles": [sorted(bundle) for bundle in true_bundles(session)],
    }


def encode_line(line: dict[str, Any]) -> bytes:
    """Encode a line of JSON Lines."""
    return json.dumps(line, ensure_ascii=False).encode() + b"\n"


def as_prompt_completion(line: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Convert a line to the format that TRL, Axolotl and LLaMA-Factory read: one row per completion.

    The given text moves to the end of the prompt, as these programs compute the loss on the whole completion.
    """
    *before, last = line["prompt"]
    for completion in line["completions"]:
        given, answer = completion["given"].strip(), completion["answer"].strip()
        asked = {**last, "content": f"{last['content']}\n\n{given}"} if given else last
        yield {"prompt": [*before, asked], "completion": [{"role": "assistant", "content": answer}]}


def _numbers(bundle: Bundle) -> str:
    return ",".join(map(str, bundle.positions))


def _intent(bundle: Bundle) -> str:
    return one_line(bundle.intent, _INTENT_LENGTH)
