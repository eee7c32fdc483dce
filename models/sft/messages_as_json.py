"""Requests and answers of a host as lines of JSON, with a protocol version."""

import json
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, ClassVar, Generic, TypeVar, Union, get_args, get_origin, get_type_hints

from models.errors import ModelError

PROTOCOL = 1
"""The version of the protocol; raise it with every change of a request or an answer."""

AnswerT = TypeVar("AnswerT")

MessageT = TypeVar("MessageT")


@dataclass(frozen=True)
class Request(Generic[AnswerT]):
    """A request whose answer is of the type `AnswerT`.

    Attributes:
        do: its name in JSON.
        answer: the type of its answer, as `read_message` takes it.
    """

    do: ClassVar[str]
    answer: ClassVar[Any]

    def lack(self, answer: AnswerT) -> str | None:  # noqa: ARG002
        """Return what was asked for and an answer does not tell; None if it tells everything."""
        return None


def request_line(request: Request[Any], workdir: str, *, silence: float | None = None) -> bytes:
    """Return a request as the line that travels.

    Args:
        workdir: the folder that the host keeps everything in.
        silence: seconds without a byte of data after which the host gives up; None for its own limit.
    """
    envelope: dict[str, Any] = {"protocol": PROTOCOL, "do": request.do, "workdir": workdir}
    if silence is not None:
        envelope["silence"] = silence
    return json.dumps(envelope | asdict(request)).encode() + b"\n"


def read_request(kind: type[MessageT], content: Mapping[str, Any]) -> MessageT:
    """Read a request from the JSON object of its line.

    Raises:
        ModelError: the client speaks another version of the protocol, or the request is malformed.
    """
    check_version(content, "the client", "use the same version of kdtui on both machines")
    names = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    request: MessageT = read_message(kind, {name: value for name, value in content.items() if name in names})
    return request


def check_version(content: Mapping[str, Any], sender: str, advice: str) -> None:
    """Refuse a message of another version of the protocol.

    Args:
        advice: what to do about it, as the end of the sentence.

    Raises:
        ModelError: its version differs.
    """
    if (version := content.get("protocol")) != PROTOCOL:
        theirs = "no version" if version is None else f"version {version}"
        raise ModelError(f"{sender} speaks {theirs} of the protocol, and version {PROTOCOL} is needed; {advice}")


def read_message(kind: Any, content: object) -> Any:
    """Read a value of a type from JSON.

    Args:
        kind: a dataclass, a tuple, a dict with texts as keys, a union, or a type that JSON has.

    Raises:
        ModelError: the content is of another type, or a field is missing or unknown.
    """
    return _read(kind, content, getattr(kind, "__name__", "value"))


def _read(kind: Any, content: Any, where: str) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return content
    if origin in (Union, UnionType):
        for each in arguments:
            try:
                return _read(each, content, where)
            except ModelError:
                continue
    elif is_dataclass(kind) and isinstance(content, dict):
        hints = get_type_hints(kind)
        known = {field.name: field for field in fields(kind)}
        required = {name for name, field in known.items() if field.default is MISSING}
        for problem, names in (("lacks", required - content.keys()), ("has unknown", content.keys() - known.keys())):
            if names:
                raise ModelError(f"malformed message: {where} {problem} {', '.join(sorted(names))}")
        read_fields = {name: _read(hints[name], value, f"{where}.{name}") for name, value in content.items()}
        return kind(**read_fields)  # type: ignore[operator]
    elif origin is dict and isinstance(content, dict):
        return {str(key): _read(arguments[1], value, f"{where}.{key}") for key, value in content.items()}
    elif origin is tuple and isinstance(content, list):
        kinds = arguments[:1] * len(content) if arguments[-1] is ... else arguments
        if len(kinds) == len(content):
            return tuple(_read(each, value, where) for each, value in zip(kinds, content, strict=True))
    elif kind is float and type(content) in (int, float):
        return float(content)
    elif kind is NoneType and content is None:
        return None
    elif kind in (str, int, bool) and type(content) is kind:
        return content
    raise ModelError(f"malformed message: {where} is {_shortened(content)}")


def _shortened(content: object) -> str:
    text = repr(content)
    return text if len(text) <= 60 else f"{text[:60]}…"
