"""Answers of simple teachers, for the fake chat server."""

import json
import re
from collections.abc import Callable
from typing import Any

from store.records import Session
from tests.support.fake_chat_server import Fake


def answer_for(fake: Fake) -> dict[str, Any]:
    """Return the answer of a simple teacher: all products are one bundle."""
    messages = fake.body["messages"]
    if "state the rules" in messages[-1]["content"]:
        named = re.findall(r"^\d+\. .*\[(.+)\]$", messages[0]["content"], re.MULTILINE)[:2]
        rule = {"rule": f"Put {' with '.join(named)}", "categories": named, "together": True}
        return {"explanations": ["I did not look."], "rules": [rule, {**rule, "rule": "Look twice", "categories": []}]}
    products = len(re.findall(r"^\d+\. ", messages[0]["content"], re.MULTILINE))
    bundle = {"products": [*range(1, products + 1)], "intent": "night outside", "why": "they serve one night"}
    return {"products": ["a shelter"], "bundles": [bundle], "left_out": ""}


def good(fake: Fake, _: int) -> None:
    """Send that answer."""
    fake.complete(json.dumps(answer_for(fake)))


def knowing(train: list[Session]) -> Callable[[Fake, int], None]:
    """Make a teacher that knows the true bundles of every second session."""

    def reply(fake: Fake, _: int) -> None:
        content = fake.body["messages"][0]["content"]
        told = answer_for(fake)
        for session in train[::2]:
            if "left_out" in told and all((item.title or "") in content for item in session.items):
                told["bundles"] = [
                    {"products": bundle.positions, "intent": bundle.intent, "why": "they fit"}
                    for bundle in session.bundles
                ]
        fake.complete(json.dumps(told))

    return reply
