"""Reads what a chat server answers: a completion, or one sentence that says what else it is."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from models.errors import ModelError

_MAX_TOKENS = 2**40
"""Tokens of a call; a larger number is a mistake of the server."""

_MAX_MESSAGE = 2000
"""Characters of a server's message that are read."""

_PAGE_TITLE = re.compile(r"<title[^>]*>([^<]*)", re.IGNORECASE)
_TAG = re.compile(r"<(?:script|style)\b.*?</(?:script|style)>|<[^>]*>", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of a call as the server counts them; None if it does not tell."""

    prompt: int | None = None
    completion: int | None = None

    def __add__(self, other: "Usage") -> "Usage":
        """Add both; what is unknown in one is unknown in the sum."""
        return Usage(_sum(self.prompt, other.prompt), _sum(self.completion, other.completion))


UNKNOWN_USAGE = Usage()
"""The usage of an answer whose tokens nobody counted."""

NO_TOKENS = Usage(0, 0)
"""The usage of an answer that needed no language model."""


@dataclass(frozen=True, slots=True)
class Completion:
    """A text that a server returned.

    Attributes:
        finish_reason: why it ended; "stop" if it was complete.
        logprobs: what the server says of the probabilities of its tokens, in whatever form.
        thoughts: the reasoning that the model wrote separately; it is paid for too.
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
        status: of HTTP, or the one in an answer with status 200; None if neither tells.
        kinds: the codes and types by which programs tell such errors apart.
        parameter: of the request, if the server names one.
        words: the message for a person.
    """

    status: int | None
    kinds: frozenset[str]
    parameter: str | None
    words: str


class RefusedInAnswer(Exception):
    """A server answered with status 200, but the answer is an error."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.words)
        self.refusal = refusal


class NoText(ModelError):
    """A completion without a text: the server did its work, but there is nothing to read.

    Attributes:
        usage: tokens of the call.
        written: what the model wrote that is not an answer, such as its reasoning.
        is_cut_off: whether it reached the limit of its length.
    """

    def __init__(self, problem: str, usage: Usage, written: str, *, is_cut_off: bool) -> None:
        super().__init__(problem)
        self.usage = usage
        self.written = written
        self.is_cut_off = is_cut_off


def read_completion(content: bytes, where: str, model: str, shown: Callable[[object], str]) -> Completion:
    """Read the completion from the body of an answer with status 200.

    Args:
        where: names the server in messages.
        shown: shortens a server's text for a message, and removes secrets from it.

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
        text, thoughts, refusal, finish_reason = map(_encodable, (text, thoughts, refusal, finish_reason))
        tool = _tool(message)
        reasoned = _reasoned(answer.get("usage"))
    except (AttributeError, TypeError, LookupError) as error:
        raise ModelError(f"{where} answers in an unknown format; is it OpenAI-compatible?") from error
    is_cut_off = finish_reason == "length"
    if finish_reason == "content_filter":
        problem = f"the content filter of {where} blocks the answer"
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
            problem += ", and the answer was cut off; have it reason less, or allow longer answers"
    elif is_cut_off:
        problem = f"the answer of {model!r} was cut off before its text began; allow longer answers"
    else:
        problem = f"{where} gives an empty answer; is {model!r} a chat model?"
    raise NoText(problem, usage, text + thoughts + refusal, is_cut_off=is_cut_off)


def refusal_of(status: int | None, body: object) -> Refusal:
    """Read an error from the body of an answer, in any of the forms that servers use."""
    inner = body.get("error", body) if isinstance(body, Mapping) else body
    if not isinstance(inner, Mapping):
        return Refusal(status, frozenset(), None, one_line_of(inner))
    kinds = frozenset(str(inner[name]).lower() for name in ("code", "type", "status") if inner.get(name))
    parameter = inner.get("param")
    if status is None:
        statuses = (str(inner.get(name)) for name in ("code", "status", "status_code"))
        status = next((int(each) for each in statuses if each.isdecimal() and 400 <= int(each) < 600), None)
    message = next((inner[name] for name in ("message", "detail", "error", "msg") if inner.get(name)), inner)
    # A gateway passes on the message of the server behind it, which is more to the point.
    metadata = inner.get("metadata")
    if isinstance(metadata, Mapping) and metadata.get("raw"):
        message = f"{one_line_of(message)}: {one_line_of(metadata['raw'])}"
    return Refusal(status, kinds, parameter if isinstance(parameter, str) else None, one_line_of(message))


def one_line_of(message: object) -> str:
    """Return a server's message on one line, without control characters and tags; only the beginning if it is long."""
    if isinstance(message, list):
        # FastAPI says in this form which fields of a request are wrong; it repeats the request, too.
        message = "; ".join(
            f"{'.'.join(map(str, each.get('loc', ())))}: {each.get('msg')}" if isinstance(each, Mapping) else str(each)
            for each in message[:5]
        )
    text = message if isinstance(message, str) else json.dumps(message, ensure_ascii=False, default=str)
    if text.lstrip().startswith("<"):
        title = _PAGE_TITLE.search(text)
        text = (title[1] if title else "").strip() or _TAG.sub(" ", text[:20_000])
    text = "".join(character if character.isprintable() else " " for character in text[:_MAX_MESSAGE])
    return " ".join(text.split())


def _decoded(content: bytes, where: str, shown: Callable[[object], str]) -> dict[str, Any]:
    """Return the JSON object of an answer; a stream, although not requested, is joined into one."""
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError) as error:
        text = content.decode("utf-8", "replace").lstrip("\ufeff \r\n\t")
        if text.startswith(("data:", "event:", "id:", ":")):
            return _joined(text, where)
        excerpt = shown(text)
        what = "a web page" if text.startswith("<") else "text" if excerpt else "nothing"
        words = f" ({excerpt})" if excerpt else ""
        raise ModelError(f"{where} gives no usable answer, but {what}{words}; is the address right?") from error
    if not isinstance(answer, dict):
        raise ModelError(f"{where} answers in an unknown format; is it OpenAI-compatible?")
    return answer


def _joined(stream: str, where: str) -> dict[str, Any]:
    """Return the completion in the events of a stream."""
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
            raise ModelError(f"{where} streams its answer in an unknown format; is it OpenAI-compatible?") from error
    if not (is_done or choice.get("finish_reason")):
        raise ModelError(f"{where} streams its answer, and broke off before the end")
    choice["logprobs"] = {"content": logprobs}
    return whole


def _check_no_error(answer: Mapping[str, Any]) -> None:
    """Check for an error in place of an answer, or of a part of one.

    Raises:
        RefusedInAnswer: there is one.
    """
    error = answer.get("error") or (answer if answer.get("object") == "error" else None)
    if error and not answer.get("choices"):
        raise RefusedInAnswer(refusal_of(None, {"error": error}))


def _text_and_thoughts(content: object) -> tuple[str, str]:
    """Return the text of a message, which can come in parts, and the text of parts of other kinds.

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
    """Return the text in a part of a message, however deeply it is nested."""
    if isinstance(part, str):
        return part
    if isinstance(part, dict):
        return "".join(_text_of(part.get(name)) for name in ("text", "content", "thinking", "reasoning", "summary"))
    return "".join(map(_text_of, part)) if isinstance(part, list) else ""


def _encodable(text: str) -> str:
    """Join the halves of characters that a stream has split, and replace single halves, which UTF-8 cannot encode."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _tool(message: Mapping[str, Any]) -> str:
    """Return the name of the tool that a message calls; empty if it calls none."""
    calls = message.get("tool_calls") or (
        [{"function": message["function_call"]}] if message.get("function_call") else []
    )
    return next((str((call.get("function") or call).get("name") or "?") for call in calls), "")


def _usage(usage: object) -> Usage:
    """Read token counts: some servers use other field names, and some always say 0."""
    if not isinstance(usage, Mapping):
        return Usage()

    def count(names: Iterable[str]) -> int | None:
        return next(filter(None, (_count(usage.get(name)) for name in names)), None)

    prompt = count(("prompt_tokens", "input_tokens"))
    completion = count(("completion_tokens", "output_tokens"))
    total = _count(usage.get("total_tokens"))
    if prompt is not None and total is not None and total > prompt:
        # Some servers count reasoning, which is paid for too, only in the total.
        completion = max(completion or 0, total - prompt)
    return Usage(prompt, completion)


def _reasoned(usage: object) -> int:
    """Return the number of tokens of the reasoning."""
    details = usage.get("completion_tokens_details") if isinstance(usage, Mapping) else None
    return (_count(details.get("reasoning_tokens")) or 0) if isinstance(details, Mapping) else 0


def _sum(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other


def _count(number: object) -> int | None:
    if isinstance(number, bool) or not isinstance(number, int | float):
        return None
    return int(number) if 0 <= number <= _MAX_TOKENS and number == int(number) else None
