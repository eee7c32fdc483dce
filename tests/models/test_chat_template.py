"""A chat template is a program of whoever made the model: it can read no file, and its time and memory are limited."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import chat_template, subprocess_call
from models.chat_template import render_chat_template
from models.errors import ModelError
from tests.support.tiny import TEMPLATE

CONTEXT: dict[str, Any] = {
    "messages": [{"role": "user", "content": "Hello"}],
    "add_generation_prompt": True,
    "eos_token": "</s>",
    "bos_token": "",
}

USUAL = """{%- set instructions = messages[0]['content'] if messages[0]['role'] == 'system' else '' -%}
{% for message in messages if message['role'] != 'system' %}
<{{ message.role }}>{{ message.content | trim }}
{% endfor %}"""


def test_a_plain_template_is_rendered_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess_call, "run_in_process", None)
    assert render_chat_template(TEMPLATE, CONTEXT) == "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant"


def test_any_other_template_is_rendered_in_a_process_of_its_own() -> None:
    assert render_chat_template(USUAL, CONTEXT) == "<user>Hello\n"


@pytest.mark.parametrize(
    "template",
    [
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{% for a in messages recursive %}{{ loop(messages) }}{% endfor %}",
        "{{ 'a' * 10 ** 11 }}",
        "{{ 'a' | center(10 ** 11) }}",
        "{% set n = namespace(x='aaaaaaaaaa') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
        "{{ messages[0].content ~ 'a' * (2 ** 21) }}",
    ],
    ids=["endless", "recursive", "product", "filter", "doubling", "long"],
)
def test_a_template_that_takes_too_much_is_refused(template: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_template, "_SECONDS", 5.0)
    with pytest.raises(ModelError):
        render_chat_template(template, CONTEXT)


@pytest.mark.parametrize(
    "template",
    [
        "{{ 9**9**9 }}",
        "{{ 'a' * 10**9 }}",
        "{{ 'a' | center(10**9) }}",
        f"{{{{ {'not ' * 300} messages }}}}",
        f"{'{% if messages %}' * 120}x{'{% endif %}' * 120}",
        f"{{{{ {'1 + ' * 300} 1 }}}}",
        "a" * 30_000,
    ],
    ids=["power", "product", "filter", "nots", "ifs", "sum", "long"],
)
def test_what_takes_long_to_compile_is_not_compiled_here(template: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess_call, "run_in_process", refuse)
    with pytest.raises(ModelError, match=r"not plain|recursion"):
        render_chat_template(template, CONTEXT)


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("{{ messages.__class__.__mro__[1].__subclasses__() }}", "unsafe"),
        ("{% include '/etc/passwd' %}", "no loader"),
        ("{{ lipsum.__globals__['os'].system('true') }}", "unsafe"),
        ("{{ 1 // 0 }}", "division|modulo"),
        ("{{ messages + 1 }}", "concatenate"),
        ("{{ messages[9].content }}", "no element 9"),
        ("{{ raise_exception('Only two messages') }}", "Only two messages"),
        ("{% if %}", "Expected an expression"),
    ],
)
def test_a_template_that_fails_or_breaks_out_is_one_sentence(template: str, problem: str) -> None:
    with pytest.raises(ModelError, match=problem):
        render_chat_template(template, CONTEXT)


@settings(max_examples=200, deadline=None)
@given(st.text("{}%- abmesgcontr[]'09+~|.*", max_size=40))
def test_a_text_that_is_rendered_at_once_is_rendered_or_refused(template: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess_call, "run_in_process", refuse)
        with suppress(ModelError):
            assert isinstance(render_chat_template(template, CONTEXT), str)


def refuse(*_: object, **__: object) -> None:
    raise ModelError("not plain")
