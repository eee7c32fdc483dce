"""The JSON in which a model behind an endpoint writes bundles: its schema and its parser."""

from typing import Any

from models.bundle_list import WrittenBundle
from models.endpoint.json_in_text import not_asked_for, object_in
from models.llama.answer_tokens import INTENT_WORDS, readable

_MAX_INTENT = 40
"""Characters of an intent that the schema allows."""


def answer_schema(products: int) -> dict[str, Any]:
    """Return the JSON schema of the bundles of a session: `{"bundles": [{"products": [1, 3], "intent": "…"}]}`."""
    bundle = {
        "type": "object",
        "properties": {
            "products": {
                "type": "array",
                "items": {"type": "integer", "enum": list(range(1, products + 1))},
                "minItems": 2,
                "maxItems": products,
            },
            "intent": {"type": "string", "maxLength": _MAX_INTENT},
        },
        "required": ["products", "intent"],
        "additionalProperties": False,
    }
    bundles = {"type": "array", "items": bundle, "maxItems": max(1, products // 2)}
    return {
        "type": "object",
        "properties": {"bundles": bundles},
        "required": ["bundles"],
        "additionalProperties": False,
    }


def parse_answer(text: str, products: int, confidence: float) -> list[WrittenBundle]:
    """Read the bundles of a session from an answer.

    Not every server enforces the schema. So there can be thoughts, prose and fences around the JSON, a repeated number
    counts once, and bundles with fewer than two of the products and repeated bundles are dropped.

    Args:
        confidence: of each bundle.

    Raises:
        ModelError: the answer holds no such JSON.
    """
    try:
        listed = [(each["products"], each["intent"]) for each in object_in(text, "bundles")["bundles"]]
    except (TypeError, LookupError) as error:
        raise not_asked_for(text) from error
    bundles: list[WrittenBundle] = []
    for numbers, intent in listed:
        if not isinstance(numbers, list) or not isinstance(intent, str):
            raise not_asked_for(text)
        legal = {number for number in numbers if type(number) is int and 1 <= number <= products}
        positions = tuple(sorted(legal))
        if len(positions) > 1 and all(positions != other.positions for other in bundles):
            words = readable(intent.encode("utf-8", "replace")).split()[:INTENT_WORDS]
            bundles.append(WrittenBundle(len(bundles), positions, " ".join(words), confidence, complete=True))
    return bundles
