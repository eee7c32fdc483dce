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


# As in the templates of SmolLM3, Granite 3 and Mistral Small 3.
TRACKED = "{% for m in messages %}{% generation %}<{{ m.role }}>{{ m.content }}{% endgeneration %}{% endfor %}"
DATED = "{{ strftime_now('%d %B %Y') }}{% for m in messages %}{{ m.content }}{% endfor %}"
BROKEN_OFF = "{% for m in messages %}{{ m.content }}{% if m.role == 'user' %}{% break %}{% endif %}no{% endfor %}"


@pytest.mark.parametrize(
    ("template", "rendered"), [(TRACKED, "<user>Hello"), (DATED, "01 January 2025Hello"), (BROKEN_OFF, "Hello")]
)
def test_a_template_can_use_what_transformers_adds(template: str, rendered: str) -> None:
    assert render_chat_template(template, CONTEXT) == rendered
    assert render_chat_template(template + USUAL, CONTEXT) == f"{rendered}<user>Hello\n"


def test_a_marked_answer_is_rendered_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess_call, "run_in_process", refuse)
    assert render_chat_template(TRACKED, CONTEXT) == "<user>Hello"


@pytest.mark.parametrize(
    "template",
    [
        "{{ strftime_now('%d' * 9) }}",
        "{% generation %}{{ 'a' * 10 ** 9 }}{% endgeneration %}",
        "{% for m in messages %}{% break %}{% endfor %}",
        f"{'{% generation %}' * 120}x{'{% endgeneration %}' * 120}",
    ],
    ids=["date", "product", "break", "nested"],
)
def test_other_extensions_are_rendered_in_a_process_of_their_own(
    template: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess_call, "run_in_process", refuse)
    with pytest.raises(ModelError, match="not plain"):
        render_chat_template(template, CONTEXT)


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
        ("{% generation %}", "end of template"),
        ("{% break %}", "outside loop"),
        ("{{ strftime_now.__self__.year }}", "unsafe"),
        ("{{ strftime_now(9) }}", "must be str"),
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
