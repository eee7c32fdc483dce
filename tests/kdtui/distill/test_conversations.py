"""Conversations with a teacher: feedback on bundles, and rules and thoughts from any answer."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdtui.distill.conversations import read_rules, read_thought
from kdtui.distill.feedback import write_feedback
from models.bundle_list import WrittenBundle
from models.errors import ModelError
from store.records import Bundle, Item, Session

A, B, C = ("Shop", "Outdoor", "Tents"), ("Shop", "Outdoor", "Mats"), ("Shop", "Kitchen", "Pans")


SESSION = Session(
    "s",
    tuple(Item(str(number), f"thing {number}", (path,)) for number, path in enumerate((A, B, C, A))),
    (Bundle((1, 2), "camping"), Bundle((3, 4), "cooking")),
    "train",
)


def test_errors_are_described_by_type() -> None:
    def bundle(*positions: int) -> WrittenBundle:
        return WrittenBundle(0, positions, "x", 1.0, complete=True)

    assert write_feedback(SESSION, [bundle(1, 2)]) == (
        "- 1,2: correct; people wanted: camping\n- 3,4 (cooking) was not found"
    )
    assert "contains the irrelevant products 3" in write_feedback(SESSION, [bundle(1, 2, 3)])
    assert "has only one product" in write_feedback(SESSION, [bundle(1)])
    one = Session("s", SESSION.items, (Bundle((1, 2, 3), "x"),))
    assert "misses the products 3; the bundle is 1,2,3" in write_feedback(one, [bundle(1, 2)])
    assert "invalid" in write_feedback(Session("s", SESSION.items, (Bundle((1, 2), "x"),)), [bundle(3, 4)])
    assert write_feedback(Session("s", SESSION.items, (Bundle((1, 2), "x"),)), []).startswith("- 1,2 (x) was not found")


def test_rules_keep_only_categories_that_are_there() -> None:
    content = {
        "explanations": [],
        "rules": [
            {"rule": "Tents with\nmats", "categories": ["mats", "TENTS"], "together": True},
            {"rule": "No phones", "categories": ["Phones", "Tents"], "together": False},
            {"rule": "  ", "categories": [], "together": None},
        ],
    }
    rules = read_rules(json.dumps(content), SESSION)
    assert [(rule.text, rule.together, rule.categories) for rule in rules] == [
        ("Tents with mats", True, (B, A)),
        ("No phones", None, ()),
    ]


def test_a_thought_that_names_missing_products_is_refused() -> None:
    bundle = {"products": [2, 1, 2], "intent": "i", "why": "w."}
    content = {"products": ["a"], "bundles": [bundle], "left_out": ""}
    thought = read_thought("```json\n" + json.dumps(content) + "\n```", SESSION)
    assert thought.steps[0].positions == (1, 2)
    assert thought.products == ("a", "thing 1", "thing 2", "thing 3")
    bundle["products"] = [1, 9]
    with pytest.raises(ModelError, match="names product 9, and there are 4"):
        read_thought(json.dumps(content), SESSION)


JSON = st.recursive(
    st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)


@given(st.text() | JSON.map(json.dumps))
def test_any_answer_is_knowledge_or_one_sentence(text: str) -> None:
    problem = ""
    for read in (read_rules, read_thought):
        try:
            read(text, SESSION)
        except ModelError as error:
            problem = str(error)
    assert "\n" not in problem
