"""What a chat server answers: a completion, or one sentence for whatever else it is."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from models.errors import ModelError

_MOST_TOKENS = 2**40
"""Of a call: a larger number is none that a server has counted."""

_MOST_WORDS = 2000
"""Characters of what a server says that are looked at."""

_PAGE_TITLE = re.compile(r"<title[^>]*>([^<]*)", re.IGNORECASE)
_TAG = re.compile(r"<(?:script|style)\b.*?</(?:script|style)>|<[^>]*>", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of a call as the server counts them; None where it does not say."""

    prompt: int | None = None
    completion: int | None = None

    def __add__(self, other: "Usage") -> "Usage":
        """Both together; what is not known of one is not known of the sum."""
        return Usage(_sum(self.prompt, other.prompt), _sum(self.completion, other.completion))


NOT_TOLD = Usage()
"""Of an answer whose tokens nobody has counted."""

NO_TOKENS = Usage(0, 0)
"""Of an answer that no language model was asked for."""


@dataclass(frozen=True, slots=True)
class Completion:
    """A text that a server has written.

    Attributes:
        finish_reason: why it ended; "stop" where it was done.
        logprobs: what the server says of the probabilities of its tokens, in whatever form.
        thoughts: what the model wrote apart from it, and was paid for.
    """

    text: str
    finish_reason: str
    usage: Usage
    logprobs: object = None
    thoughts: str = ""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a server does not answer a request.

    Attributes:
        status: of HTTP, or the one that an answer with status 200 names; None where neither tells.
        kinds: the codes and types by which programs tell such errors apart.
        parameter: of the request, where the server names one.
        words: what it says, for a person.
    """

    status: int | None
    kinds: frozenset[str]
    parameter: str | None
    words: str


class RefusedInAnswer(Exception):
    """A server has answered with status 200, and the answer is an error."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.words)
        self.refusal = refusal


class NoText(ModelError):
    """A completion without a text: the server has done its work, and there is nothing to read.

    Attributes:
        usage: what it took.
        written: what the model wrote that is no answer, such as its reasoning.
        is_cut_off: whether it wrote as much as it was allowed to.
    """

    def __init__(self, problem: str, usage: Usage, written: str, *, is_cut_off: bool) -> None:
        super().__init__(problem)
        self.usage = usage
        self.written = written
        self.is_cut_off = is_cut_off


def read_completion(content: bytes, where: str, model: str, shown: Callable[[object], str]) -> Completion:
    """The completion in the body of an answer with status 200.

    Args:
        where: names the server in messages.
        shown: makes of what the server says what a message may show.

    Raises:
        RefusedInAnswer: it is an error.
        NoText: it is a completion without a text.
        ModelError: it is something else.
    """
    answer = _decoded(content, where, shown)
    _check_no_error(answer)
    try:
        usage = _usage(answer.get("usage"))
        if not answer["choices"] and usage.prompt:
            raise NoText(f"{where} gives no answer to this question", usage, "", is_cut_off=False)
        choice = answer["choices"][0]
        _check_no_error(choice)
        message, finish_reason = choice["message"], str(choice.get("finish_reason"))
        text, thoughts = _text_and_thoughts(message.get("content"))
        thoughts += "".join(
            _text_of(message.get(name)) for name in ("reasoning_content", "reasoning", "thinking", "reasoning_details")
        )
        refusal = _text_of(message.get("refusal")) or _refusal_part(message.get("content"))
        tool = _tool(message)
        reasoned = _reasoned(answer.get("usage"))
    except (AttributeError, TypeError, LookupError) as error:
        raise ModelError(f"{where} answers in a form of its own; is it OpenAI-compatible?") from error
    is_cut_off = finish_reason == "length"
    if finish_reason == "content_filter":
        problem = f"the content filter of {where} holds the answer back"
    elif text.strip():
        return Completion(text, finish_reason, usage, choice.get("logprobs"), thoughts)
    elif refusal:
        problem = f"{model!r} refuses to answer: {shown(refusal)}"
    elif tool:
        problem = f"{model!r} calls the tool {shown(tool)!r} instead of answering"
    elif thoughts.strip() or reasoned:
        spent = f"{reasoned or usage.completion:,} tokens" if reasoned or usage.completion else "all that it wrote"
        problem = f"{model!r} gives no answer; {spent} went into its reasoning"
        if is_cut_off:
            problem += ", and the answer has no end; have it reason less, or allow longer answers"
    elif is_cut_off:
        problem = f"the answer of {model!r} has no end, and nothing in it; allow longer answers"
    else:
        problem = f"{where} answers nothing; is {model!r} a chat model?"
    raise NoText(problem, usage, text + thoughts + refusal, is_cut_off=is_cut_off)


def refusal_of(status: int | None, body: object) -> Refusal:
    """What the body of an answer says about an error, in any of the forms that servers have for it."""
    inner = body.get("error", body) if isinstance(body, Mapping) else body
    if not isinstance(inner, Mapping):
        return Refusal(status, frozenset(), None, words_of(inner))
    kinds = frozenset(str(inner[name]).lower() for name in ("code", "type", "status") if inner.get(name))
    parameter = inner.get("param")
    if status is None:
        told = (str(inner.get(name)) for name in ("code", "status", "status_code"))
        status = next((int(each) for each in told if each.isdecimal() and 400 <= int(each) < 600), None)
    said = next((inner[name] for name in ("message", "detail", "error", "msg") if inner.get(name)), inner)
    # A gateway passes on what the server behind it says, which is more to the point.
    metadata = inner.get("metadata")
    if isinstance(metadata, Mapping) and metadata.get("raw"):
        said = f"{words_of(said)}: {words_of(metadata['raw'])}"
    return Refusal(status, kinds, parameter if isinstance(parameter, str) else None, words_of(said))


def words_of(said: object) -> str:
    """What a server says, on one line, without control characters and tags; the beginning where it is long."""
    if isinstance(said, list):
        # As FastAPI says which fields of a request will not do; it repeats what was sent, too.
        said = "; ".join(
            f"{'.'.join(map(str, each.get('loc', ())))}: {each.get('msg')}" if isinstance(each, Mapping) else str(each)
            for each in said[:5]
        )
    text = said if isinstance(said, str) else json.dumps(said, ensure_ascii=False, default=str)
    if text.lstrip().startswith("<"):
        title = _PAGE_TITLE.search(text)
        text = (title[1] if title else "").strip() or _TAG.sub(" ", text[:20_000])
    text = "".join(character if character.isprintable() else " " for character in text[:_MOST_WORDS])
    return " ".join(text.split())


def _decoded(content: bytes, where: str, shown: Callable[[object], str]) -> dict[str, Any]:
    """The JSON object of an answer; a stream that nobody asked for is put together to one."""
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError) as error:
        text = content.decode("utf-8", "replace").lstrip("\ufeff \r\n\t")
        if text.startswith(("data:", "event:", "id:", ":")):
            return _put_together(text, where)
        said = shown(text)
        what = "a web page" if text.startswith("<") else "text" if said else "nothing"
        words = f" ({said})" if said else ""
        raise ModelError(f"{where} gives no usable answer, but {what}{words}; is the address right?") from error
    if not isinstance(answer, dict):
        raise ModelError(f"{where} answers in a form of its own; is it OpenAI-compatible?")
    return answer


def _put_together(stream: str, where: str) -> dict[str, Any]:
    """The completion that the events of a stream make up."""
    message: dict[str, Any] = {}
    whole: dict[str, Any] = {"choices": [{"message": message}]}
    choice = whole["choices"][0]
    logprobs: list[object] = []
    is_done = False
    for line in stream.splitlines():
        kind, _, data = line.partition(":")
        if kind != "data":
            continue
        if data.strip() == "[DONE]":
            is_done = True
            break
        try:
            event = json.loads(data)
            _check_no_error(event)
            whole["usage"] = event.get("usage") or whole.get("usage")
            for part in event.get("choices") or ():
                if part.get("index"):
                    continue
                delta = part.get("delta") or part.get("message") or {}
                for name in ("content", "reasoning_content", "reasoning", "refusal"):
                    message[name] = _text_of(message.get(name)) + _text_of(delta.get(name))
                message["tool_calls"] = message.get("tool_calls") or delta.get("tool_calls")
                logprobs += (part.get("logprobs") or {}).get("content") or ()
                choice["finish_reason"] = part.get("finish_reason") or choice.get("finish_reason")
        except (ValueError, RecursionError, AttributeError, TypeError) as error:
            raise ModelError(f"{where} streams its answer in a form of its own; is it OpenAI-compatible?") from error
    if not (is_done or choice.get("finish_reason")):
        raise ModelError(f"{where} streams its answer, and broke off before the end")
    choice["logprobs"] = {"content": logprobs}
    return whole


def _check_no_error(answer: Mapping[str, Any]) -> None:
    """An error in place of an answer, or in place of a part of one.

    Raises:
        RefusedInAnswer: there is one.
    """
    told = answer.get("error") or (answer if answer.get("object") == "error" else None)
    if told and not answer.get("choices"):
        raise RefusedInAnswer(refusal_of(None, {"error": told}))


def _text_and_thoughts(content: object) -> tuple[str, str]:
    """The text of a message, which may come in parts, and what parts of another kind say.

    Raises:
        TypeError: it is something else.
    """
    if content is None or isinstance(content, str):
        return content or "", ""
    if not isinstance(content, list):
        raise TypeError(content)
    text, thoughts = "", ""
    for part in content:
        kind = part.get("type", "text") if isinstance(part, dict) else "text"
        if kind in ("text", "output_text"):
            text += _text_of(part)
        elif kind != "refusal":
            thoughts += _text_of(part)
    return text, thoughts


def _refusal_part(content: object) -> str:
    parts = content if isinstance(content, list) else []
    return "".join(_text_of(part.get("refusal")) for part in parts if isinstance(part, dict))


def _text_of(part: object) -> str:
    """The text in a part of a message, however deep it is."""
    if isinstance(part, str):
        return part
    if isinstance(part, dict):
        return "".join(_text_of(part.get(name)) for name in ("text", "content", "thinking", "reasoning", "summary"))
    return "".join(map(_text_of, part)) if isinstance(part, list) else ""


def _tool(message: Mapping[str, Any]) -> str:
    """The name of the tool that a message calls, if it does."""
    calls = message.get("tool_calls") or (
        [{"function": message["function_call"]}] if message.get("function_call") else []
    )
    return next((str((call.get("function") or call).get("name") or "?") for call in calls), "")


def _usage(told: object) -> Usage:
    """Tokens, where they are told: some servers have fields of other names, and some always say 0."""
    if not isinstance(told, Mapping):
        return Usage()

    def count(names: Iterable[str]) -> int | None:
        return next(filter(None, (_count(told.get(name)) for name in names)), None)

    prompt = count(("prompt_tokens", "input_tokens"))
    completion = count(("completion_tokens", "output_tokens"))
    total = _count(told.get("total_tokens"))
    if prompt is not None and total is not None and total > prompt:
        # Reasoning, which is paid for as well, is part of the total alone for some servers.
        completion = max(completion or 0, total - prompt)
    return Usage(prompt, completion)


def _reasoned(told: object) -> int:
    """Tokens that went into reasoning."""
    details = told.get("completion_tokens_details") if isinstance(told, Mapping) else None
    return (_count(details.get("reasoning_tokens")) or 0) if isinstance(details, Mapping) else 0


def _sum(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other


def _count(number: object) -> int | None:
    if isinstance(number, bool) or not isinstance(number, int | float):
        return None
    return int(number) if 0 <= number <= _MOST_TOKENS and number == int(number) else None
