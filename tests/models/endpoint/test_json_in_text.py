"""The JSON object of an answer is found among other text, in linear time even for hostile text."""

import json
from time import process_time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.endpoint.json_in_text import object_in
from models.errors import ModelError

KEYS = st.text(max_size=6).filter(lambda key: key != "bundles")
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)
ANSWERS = st.builds(lambda value, more: {**more, "bundles": value}, VALUES, st.dictionaries(KEYS, VALUES, max_size=2))
PROSE = st.text(max_size=40) | st.sampled_from(
    [
        "",
        "Sure! Here you are:\n",
        "{",
        '{"',
        '{"a": "',
        "[{[",
        '"',
        '{"a": [1, ',
        "\\",
        "{'a': 1}",
        "I use {braces} a lot. ",
    ]
)
INDENTS = st.sampled_from([None, 0, 2])


def thinks(prose: str) -> str:
    return f"<think>{prose}</think>"


@given(ANSWERS, INDENTS, PROSE, PROSE)
def test_an_object_is_found_in_prose(answer: dict[str, Any], indent: int | None, before: str, after: str) -> None:
    assert object_in(f"{before} {json.dumps(answer, indent=indent)} {after}", "bundles") == answer


@given(ANSWERS, st.sampled_from(["json", "JSON", "Json", "", "json5", "javascript"]), PROSE, PROSE)
def test_an_object_is_found_in_a_fence(answer: dict[str, Any], language: str, before: str, after: str) -> None:
    text = f"{before}\n```{language}\n{json.dumps(answer)}\n```\n{after}"
    assert object_in(text, "bundles") == answer


@given(ANSWERS, ANSWERS, PROSE, st.sampled_from(["<think>", "", "<thinking>"]))
def test_an_object_is_found_after_thoughts_but_not_in_them(
    answer: dict[str, Any], draft: dict[str, Any], prose: str, begins: str
) -> None:
    ends = begins.replace("<", "</") or "</think>"
    text = f"{begins}{prose} {json.dumps(draft)} {prose}{ends}\n\n{json.dumps(answer)}"
    assert object_in(text, "bundles") == answer


@given(ANSWERS, st.dictionaries(st.sampled_from(["a", "note", "x"]), VALUES))
def test_an_object_is_found_inside_another(answer: dict[str, Any], around: dict[str, Any]) -> None:
    assert object_in(json.dumps({**around, "answer": answer}), "bundles") == answer


@given(st.text() | st.text(alphabet='{}[]":,\\ 1tn'))
def test_garbage_raises_only_a_model_error(text: str) -> None:
    said = ""
    try:
        object_in(text, "bundles")
    except ModelError as error:
        said = str(error)
    assert said.isprintable()


GOOD = '{"bundles": [{"products": [1, 2], "intent": "a </think> {b} \\"c"}]}'


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        f"```JSON\n{GOOD}\n```",
        f'<think>1 and 2? {{"bundles": []}}</think>{GOOD}',
        f"no beginning, as the prompt has it</think>{GOOD}",
        f"<think>Hm.{GOOD}</think>",
        f"<think>Never closed. {GOOD}",
        f"[THINK]Hm.[/THINK]{GOOD}",
        f'<|channel|>analysis<|message|>{{"bundles": []}}<|end|><|start|>assistant<|channel|>final<|message|>{GOOD}',
        f'First I thought {{"bundles": []}}, but then: {GOOD} That is all.',
        f'{{"name": "answer", "arguments": {GOOD}}}',
        f"[{GOOD}]",
        f"{{ note: {GOOD} }}",
        f"\ufeff{GOOD}",
    ],
)
def test_the_ways_in_which_models_write_an_answer(text: str) -> None:
    assert object_in(text, "bundles") == json.loads(GOOD)


def test_a_string_can_contain_a_line_break() -> None:
    assert object_in('{"bundles": "a\nb"}', "bundles") == {"bundles": "a\nb"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I would put 1 and 2 together.",
        "{}",
        "null",
        '{"rules": []}',
        '{"bundles": [',
        '<think>{"bundles": []} might do.</think> But no: nothing belongs together.',
    ],
)
def test_the_error_without_an_answer_shows_the_text(text: str) -> None:
    with pytest.raises(ModelError, match="not the JSON that was asked for"):
        object_in(text, "bundles")


HOSTILE = [
    "{",
    "[",
    '{"',
    '{"a":',
    '{"a":[',
    '{"a":"',
    '{"a":1,',
    '{"a":{}}',
    '{"a":"{",',
    '"{"',
    '{"\\"',
    '\\"{',
    '{"a": "{\\"b\\": ',
    "{ ",
    "{[}]",
    '{"":{"":"{"',
    "</think>",
    '{"bundles"',
    "{\n",
    '{"a":-1e',
]


@pytest.mark.parametrize("unit", HOSTILE)
@pytest.mark.parametrize("first", ["", '{"a": "', '{"a": ['])
@pytest.mark.slow
def test_hostile_text_takes_linear_time(unit: str, first: str) -> None:
    def seconds(characters: int) -> float:
        text = first + unit * (characters // len(unit))
        started = process_time()
        with pytest.raises(ModelError):
            object_in(text, "bundles")
        return process_time() - started

    # A text ten times as long must not take a hundred times as long; the load of the machine matters little.
    assert min(seconds(200_000) for _ in range(2)) < 40 * max(seconds(20_000), 0.005)
