"""The JSON of an endpoint: valid answers are kept unchanged, and nonsense gives one clear error."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.endpoint.json_answer import answer_schema, parse_answer
from models.errors import ModelError

BUNDLES = st.lists(
    st.fixed_dictionaries({"products": st.lists(st.integers(-3, 12), max_size=8), "intent": st.text(max_size=80)})
)
ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["bundles", "products", "intent", "x"]), inner),
)


@given(BUNDLES, st.integers(2, 10))
def test_usable_bundles_are_kept(bundles: list[dict[str, Any]], products: int) -> None:
    found = parse_answer(json.dumps({"bundles": bundles}), products, 0.7)
    usable = {tuple(sorted({n for n in each["products"] if 1 <= n <= products})) for each in bundles}
    assert {bundle.positions for bundle in found} == {positions for positions in usable if len(positions) > 1}
    assert [bundle.number for bundle in found] == list(range(len(found)))
    for bundle in found:
        assert bundle.intent.isprintable()
        assert len(bundle.intent.split()) <= 5
        assert bundle.complete
        assert bundle.confidence == 0.7


@given(st.text() | ANYTHING.map(json.dumps))
def test_any_text_gives_bundles_or_one_sentence(text: str) -> None:
    problem = ""
    try:
        parse_answer(text, 4, 0.5)
    except ModelError as error:
        problem = str(error)
    assert problem.isprintable()
    assert len(problem) < 140


def test_a_fence_around_the_json_does_not_matter() -> None:
    [bundle] = parse_answer('```json\n{"bundles": [{"products": [2, 1, 2], "intent": "a night out"}]}\n```', 2, 1.0)
    assert (bundle.positions, bundle.intent) == ((1, 2), "a night out")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I think 1 and 2",
        "[]",
        "{}",
        '{"bundles": 3}',
        '{"bundles": [[1, 2]]}',
        "[" * 100_000,
        '{"bundles": [{"products": 1, "intent": ""}]}',
    ],
)
def test_nonsense_is_an_error_that_shows_its_beginning(text: str) -> None:
    with pytest.raises(ModelError, match="not the JSON that was asked for"):
        parse_answer(text, 3, 0.5)


def test_control_characters_of_an_answer_are_not_shown() -> None:
    with pytest.raises(ModelError) as caught:
        parse_answer("\x1b[31mred\n\u202e", 3, 0.5)
    assert str(caught.value).isprintable()


def test_the_schema_names_the_products_of_the_session() -> None:
    bundle = answer_schema(3)["properties"]["bundles"]["items"]
    assert bundle["properties"]["products"]["items"]["enum"] == [1, 2, 3]
    assert bundle["properties"]["products"]["minItems"] == 2
