"""The prompt that asks a judge to rate an intent, and parsing of the answer."""

from collections.abc import Sequence
from typing import Any

from kdtui.distill.conversations import FENCE
from kdtui.distill.product_line import product_line
from kdtui.distill.prompt_files import prompt_text
from kdtui.text import one_line
from models.endpoint.json_in_text import object_in
from models.errors import ModelError
from models.messages import Message
from store.records import Item

LEAST_RATING, BEST_RATING = 1, 5
"""The scale of ratings, in whole numbers."""

_INTENT = 200
"""Characters of an intent in the prompt."""

RATING_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"rating": {"type": "integer", "minimum": LEAST_RATING, "maximum": BEST_RATING}},
    "required": ["rating"],
    "additionalProperties": False,
}


def rating_prompt(items: Sequence[Item], intent: str) -> Message:
    """Return the prompt that asks how well an intent names the products of a bundle; both are fenced as data."""
    lines = [f"{number}. {product_line(item)}" for number, item in enumerate(items, start=1)]
    # The prefix prevents an intent of dashes from looking like the closing fence.
    fenced = "\n".join([FENCE, f"intent: {one_line(intent, _INTENT)}", FENCE])
    return Message("user", prompt_text("judge", products="\n".join([FENCE, *lines, FENCE]), intent=fenced))


def read_rating(text: str) -> int:
    """Parse the rating in an answer.

    Raises:
        ModelError: the answer does not have the required JSON, or the rating is outside the scale.
    """
    rating = object_in(text, "rating")["rating"]
    # In Python, True is an int.
    if type(rating) is not int or not LEAST_RATING <= rating <= BEST_RATING:
        shown = one_line(str(rating), 40)
        raise ModelError(f"the answer rates with {shown!r}, not a whole number from {LEAST_RATING} to {BEST_RATING}")
    return rating
