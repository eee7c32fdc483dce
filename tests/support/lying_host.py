"""A host that says the same to everything that it is asked, below all that reads it."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import asdict
from typing import Any
from unittest.mock import patch

from kdtui.errors import KdtuiError
from kdtui.hosts import client as client_module
from kdtui.hosts.client import HostClient
from kdtui.hosts.transport import Completed, LocalTransport
from models.sft import protocol
from models.sft.log_pieces import LogPosition
from models.sft.log_search import Search
from models.sft.messages_as_json import PROTOCOL, Request
from models.sft.processes import HasStopped, Stopping
from models.sft.state import JobStatus
from store.hosts import Host
from store.records import HostSettings

_PACKAGES = protocol.PackagesAnswer({"torch": "2.6"})

_RUNNING = protocol.TrainingAnswer(asdict(JobStatus("running", 3, 40, 0.5)), "key", 7, True)

HONEST: Mapping[Request[Any], object] = {
    protocol.InventoryRequest("one", "key", (("base.gguf", 5),), "", ("torch",)): protocol.InventoryAnswer(
        {"base.gguf": 3}, "key", "stopped", None, _PACKAGES
    ),
    protocol.ReceiveRequest("base.part", 0, "base", 5, "0" * 64): None,
    protocol.LaunchRequest("one", "key", "direct", "python3", "code", 1, None, None, False): protocol.LaunchAnswer(71),
    protocol.StatusRequest(("one",)): protocol.StatusAnswer({"one": _RUNNING}),
    protocol.FilesRequest("one", "key", ("adapter",), 1 << 20, ()): protocol.FilesAnswer((("adapter/x", 3, None),)),
    protocol.FindRequest("one", "key", Search("loss", 0)): protocol.FindAnswer(5),
    protocol.DescribeRequest("one"): protocol.DescribeAnswer({"base": "x", "manifest": {}}, "key"),
    protocol.RemoveRequest("one", "key"): None,
    protocol.LeaveRequest("one", "key", "on host gpu"): None,
    protocol.TrainingsRequest(): protocol.TrainingsAnswer({"one": "key", "two": None}),
    protocol.CheckRequest("python3", "", (), ("torch",)): protocol.CheckAnswer(
        "3.11.2", True, 10**10, ("A100",), _PACKAGES, False, 1.5e9, False, 8
    ),
    protocol.SetupRequest("torch", None): protocol.SetupAnswer("/w/setup/log", 0),
    protocol.SetupStatusRequest("torch"): protocol.SetupStatusAnswer("running", None, False),
}
"""Requests of all types that one answer follows, with what an honest host answers."""


def _line(**content: object) -> bytes:
    return json.dumps({"protocol": PROTOCOL, **content}).encode() + b"\n"


def _plain(answer: Any) -> object:
    return None if answer is None else asdict(answer)


def _asks(request: Request[Any]) -> Callable[[HostClient], Awaitable[object]]:
    return lambda client: client.ask(request)


async def _cancel(client: HostClient) -> object:
    return [event async for event in client.cancel("one", "key", 1.0)]


async def _send(client: HostClient) -> object:
    return b"".join([chunk async for chunk in client.stream_answer(protocol.SendRequest("one", "key", "x", 0, 5))])


async def _follow(client: HostClient) -> object:
    pieces = [piece async for piece in client.follow("one", "key", LogPosition())]
    assert all(piece.offset >= 0 for piece in pieces)
    return pieces


async def _read_part(client: HostClient) -> object:
    size, part = await client.read_part("/w/jobs/one/log", 0, 100)
    assert 0 <= size < 1 << 63
    return size, part


CONVERSATIONS: Mapping[str, Callable[[HostClient], Awaitable[object]]] = {
    **{request.do: _asks(request) for request in HONEST},
    "unpack": lambda client: client.ask(protocol.UnpackRequest("/w", {})),
    "cancel": _cancel,
    "send": _send,
    "follow": _follow,
    "read a part": _read_part,
}
"""All ways to ask a host."""


def honest_answers() -> list[bytes]:
    """Return what an honest host says, for each of the conversations."""
    stopping = _line(stopping=asdict(Stopping(1.0, 2.0, "step 3")))
    return [
        *(_line(ok=_plain(answer)) for answer in HONEST.values()),
        stopping + _line(ok=asdict(HasStopped(("killed 7 (python)",)))),
        _line(ok=None) + b"bytes",
        _line(ok=None)
        + _line(piece={"offset": 0, "size": 4})
        + b"one\n"
        + _line(piece={"offset": 4, "size": 1})
        + b"t",
        b"   12\nbytes of it\n",
    ]


def heard(name: str, data: bytes) -> object:
    """Hold a conversation with a host that says only this, and return what the client makes of it.

    Raises:
        KdtuiError: the client refuses it.
    """
    [outcome] = all_heard([name], data)
    if isinstance(outcome, KdtuiError):
        raise outcome
    return outcome


def all_heard(names: Iterable[str], data: bytes) -> list[object]:
    """Hold conversations, and return for each what the client makes of it, or the error that it raises for the user."""

    async def run(*_: object, most: int, **__: object) -> Completed:
        if len(data) > most:
            raise KdtuiError("host far: it sends more than it was asked for")
        return Completed(0, data, "")

    async def stream(*_: object, **__: object) -> AsyncIterator[bytes]:
        # It can arrive in any parts.
        half = len(data) // 2
        yield data[:half]
        yield data[half:]

    async def converse() -> list[object]:
        client = HostClient(Host("far", None, "/w", HostSettings()), LocalTransport("far"))
        outcomes = list[object]()
        for name in names:
            try:
                outcomes.append(await CONVERSATIONS[name](client))
            except KdtuiError as error:
                outcomes.append(error)
        return outcomes

    with patch.object(client_module, "run_command", run), patch.object(client_module, "stream_command", stream):
        return asyncio.run(converse())
