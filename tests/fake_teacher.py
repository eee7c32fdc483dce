"""What a simple teacher would say, for the fake chat server."""

import json
import re
from typing import Any

from tests.fake_chat_server import Fake


def answer_for(fake: Fake) -> dict[str, Any]:
    """What a simple teacher would say: all products are one bundle."""
    messages = fake.body["messages"]
    if "state the rules" in messages[-1]["content"]:
        named = re.findall(r"^\d+\. .*\[(.+)\]$", messages[0]["content"], re.MULTILINE)[:2]
        rule = {"rule": f"Put {' with '.join(named)}", "categories": named, "together": True}
        return {"explanations": ["I did not look."], "rules": [rule, {**rule, "rule": "Look twice", "categories": []}]}
    products = len(re.findall(r"^\d+\. ", messages[0]["content"], re.MULTILINE))
    bundle = {"products": [*range(1, products + 1)], "intent": "night outside", "why": "they serve one night"}
    return {"products": ["a shelter"], "bundles": [bundle], "left_out": ""}


def good(fake: Fake, _: int) -> None:
    """Answer so."""
    fake.complete(json.dumps(answer_for(fake)))
