"""Prompts for a teacher about a training session, step by step, and parsing of its answers."""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from kdtui.distill.product_line import product_line
from kdtui.distill.prompt_files import prompt_text
from kdtui.distill.rules import Rule
from kdtui.distill.thoughts import Step, Thought
from kdtui.text import one_line
from models.endpoint.json_in_text import object_in
from models.errors import ModelError
from models.llama.answer_tokens import INTENT_WORDS
from models.messages import Message
from store.records import CategoryPath, Session

_RULE = 200
_WHY = 120
"""Characters of rules and other texts of a teacher."""

FENCE = "-" * 40
"""Text between two such lines is data, not instructions."""

_MOST_RULES = 8

RULES_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "explanations": {"type": "array", "items": {"type": "string"}},
        "rules": {
            "type": "array",
            "maxItems": _MOST_RULES,
            "items": {
                "type": "object",
                "properties": {
                    "rule": {"type": "string"},
                    "categories": {"type": "array", "items": {"type": "string"}, "maxItems": 2},
                    "together": {"type": ["boolean", "null"]},
                },
                "required": ["rule", "categories", "together"],
                "additionalProperties": False,
            },
        },
    },
    "required": ["explanations", "rules"],
    "additionalProperties": False,
}


class _RuleAnswer(Struct):
    rule: str
    categories: list[str] = []
    together: bool | None = None


class _RulesAnswer(Struct):
    rules: list[_RuleAnswer]


class _StepAnswer(Struct):
    products: list[int]
    intent: str = ""
    why: str = ""


class _ThoughtAnswer(Struct):
    bundles: list[_StepAnswer]
    products: list[str] = []
    left_out: str = ""


def thought_schema(products: int) -> dict[str, Any]:
    """Return the JSON schema of a thought about this number of products."""
    step = {
        "type": "object",
        "properties": {
            "intent": {"type": "string"},
            "products": {"type": "array", "items": {"type": "integer", "minimum": 1, "maximum": products}},
            "why": {"type": "string"},
        },
        "required": ["intent", "products", "why"],
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "properties": {
            "products": {"type": "array", "items": {"type": "string"}, "maxItems": products},
            "bundles": {"type": "array", "items": step, "maxItems": products},
            "left_out": {"type": "string"},
        },
        "required": ["products", "bundles", "left_out"],
        "additionalProperties": False,
    }


def detection_prompt(session: Session, knowledge: Sequence[str]) -> Message:
    """Return the first prompt of self-reflection: find the bundles of a session."""
    return Message("user", prompt_text("detect", products=_products(session), knowledge=_known(knowledge)))


def correction_prompt() -> Message:
    """Return the second prompt: correct the bundles, in view of their intents."""
    return Message("user", prompt_text("correct"))


def reflection_prompt(feedback: str) -> Message:
    """Return the third prompt: reflect on the errors, and write rules that would have avoided them."""
    return Message("user", prompt_text("reflect", feedback=feedback))


def adjustment_prompt(feedback: str) -> Message:
    """Return a prompt of AICL: adjust the bundles, given their errors."""
    return Message("user", prompt_text("adjust", feedback=feedback))


def rules_prompt() -> Message:
    """Return a prompt of AICL: write rules as the conclusion of the conversation."""
    return Message("user", prompt_text("rules"))


def thought_prompt(session: Session, knowledge: Sequence[str]) -> Message:
    """Return the prompt for a thought, with statements that are known of such sessions."""
    return Message("user", prompt_text("thought", products=_products(session), knowledge=_known(knowledge)))


def read_rules(text: str, session: Session) -> list[Rule]:
    """Parse the rules in an answer. Ignore empty rules, and categories that the session lacks.

    Raises:
        ModelError: the answer does not have the required JSON.
    """
    answer = _decoded(text, _RulesAnswer, "rules")
    rules = []
    for each in answer.rules[:_MOST_RULES]:
        words = one_line(each.rule, _RULE)
        paths = sorted(filter(None, (_path_named(name, session) for name in each.categories[:2])))
        if words:
            about = tuple(paths) if len(paths) == 2 and each.together is not None else ()
            rules.append(Rule(words, each.together if about else None, about))
    return rules


def read_thought(text: str, session: Session) -> Thought:
    """Parse the thought in an answer.

    Raises:
        ModelError: the answer does not have the required JSON, or names products that do not exist.
    """
    answer = _decoded(text, _ThoughtAnswer, "bundles")
    count = len(session.items)
    steps = []
    for each in answer.bundles:
        wrong = [number for number in each.products if not 1 <= number <= count]
        if wrong:
            raise ModelError(f"the answer names product {wrong[0]}, and there are {count}")
        positions = tuple(sorted(set(each.products)))
        if len(positions) > 1:
            intent = " ".join(one_line(each.intent).split()[:INTENT_WORDS])
            steps.append(Step(positions, intent or "them", one_line(each.why, _WHY).rstrip(".") or "they fit"))
    products = [one_line(product, _WHY).rstrip(".") for product in answer.products[:count]]
    products += [one_line(item.title or "(no title)", _WHY) for item in session.items[len(products) :]]
    left_out = one_line(answer.left_out, _WHY).rstrip(".")
    return Thought(tuple(products), tuple(steps), f"{left_out}." if left_out else "")


def _decoded(text: str, kind: type[Any], key: str) -> Any:
    try:
        return msgspec.convert(object_in(text, key), kind)
    except msgspec.ValidationError as error:
        raise ModelError(f"the answer is not the JSON that was asked for: {error}") from error


def _products(session: Session) -> str:
    lines = [f"{number}. {product_line(item)}" for number, item in enumerate(session.items, start=1)]
    return "\n".join([FENCE, *lines, FENCE])


def _known(knowledge: Sequence[str]) -> str:
    return "\n".join(["What is known of such sessions:", *map(one_line, knowledge), ""]) if knowledge else ""


def _path_named(name: str, session: Session) -> CategoryPath | None:
    """Return the full category path that a teacher means by a name, from the products of the session."""
    folded = one_line(name).casefold()
    for item in session.items:
        path = item.main_category
        if path and one_line(path[-1]).casefold() == folded:
            return path
    return None
