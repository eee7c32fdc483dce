"""`python -m models.sft.host`: read a request from stdin, and write its answer to stdout."""

import io
import json
import os
import select
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from models.errors import ModelError
from models.sft.host import files, jobs, machine
from models.sft.host.workdir import WORKDIR_ADVICE
from models.sft.messages_as_json import PROTOCOL, Request, read_request
from models.sft.processes import Stopping
from models.sft.protocol import (
    CancelRequest,
    CheckRequest,
    DescribeRequest,
    FilesRequest,
    FindRequest,
    FollowRequest,
    InventoryRequest,
    LaunchRequest,
    LeaveRequest,
    PieceHead,
    ReceiveRequest,
    RemoveRequest,
    SendRequest,
    SetupRequest,
    SetupStatusRequest,
    StatusRequest,
    TrainingsRequest,
    UnpackRequest,
)

_SILENCE = 60.0
"""Seconds without a byte from a client that has more to send. Its network is frozen then, and must block nobody."""

_LOOK = 0.25
"""Seconds between two looks at a log that is followed."""

_HANDLERS: dict[type[Request[Any]], Callable[[Path, Any], object]] = {
    InventoryRequest: jobs.take_inventory,
    StatusRequest: jobs.training_statuses,
    FindRequest: jobs.search_log,
    DescribeRequest: jobs.describe_training,
    RemoveRequest: jobs.remove_training,
    LeaveRequest: jobs.leave_training,
    TrainingsRequest: jobs.list_trainings,
    FilesRequest: files.list_files,
    CheckRequest: machine.check_machine,
    SetupRequest: machine.start_setup,
    SetupStatusRequest: machine.setup_status,
}

_DATA_HANDLERS: dict[type[Request[Any]], Callable[[Path, Any, io.BufferedReader], object]] = {
    LaunchRequest: jobs.launch_training,
    ReceiveRequest: files.receive_file,
    UnpackRequest: files.unpack_files,
}

_REQUESTS: tuple[type[Request[Any]], ...] = (*_HANDLERS, *_DATA_HANDLERS, CancelRequest, FollowRequest, SendRequest)

_KINDS = {kind.do: kind for kind in _REQUESTS}


class _Input(io.RawIOBase):
    """What a client sends on stdin; a client that falls silent is given up.

    Attributes:
        silence: seconds that it can be silent; a request can set another number.
    """

    silence = _SILENCE

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not select.select([0], [], [], self.silence)[0]:
            raise ModelError(f"the client has sent nothing for {self.silence:g} seconds; try again")
        return os.readv(0, [buffer])


def main() -> None:
    """Answer the request on stdin."""
    # Others may neither read nor change what a host keeps, nor what trainings make, whatever the umask is there.
    os.umask(0o077)
    source = _Input()
    data: io.BufferedReader = io.BufferedReader(source)
    content: dict[str, Any] = {}
    try:
        content = _content(data.readline())
        source.silence = content.get("silence", _SILENCE)
        _answer(content, data)
    except ModelError as error:
        _write({"error": str(error)})
    except OSError as error:
        workdir = str(content.get("workdir"))
        path = str(error.filename or workdir)
        advice = WORKDIR_ADVICE.get(error.errno or 0) if path.startswith(workdir) else None
        _write({"error": f"{path}: {error.strerror}{f'; {advice}' if advice else ''}"})


def _content(line: bytes) -> dict[str, Any]:
    try:
        content = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"the request is not JSON ({error}); only kdtui on another machine sends requests") from error
    if not isinstance(content, dict) or not isinstance(content.get("workdir"), str):
        raise ModelError("the request is not an object with a workdir; only kdtui on another machine sends requests")
    return content


def _answer(content: Mapping[str, Any], data: io.BufferedReader) -> None:
    kind = _KINDS.get(str(content.get("do")), Request)
    request: object = read_request(kind, content)
    workdir = Path(content["workdir"])
    if isinstance(request, SendRequest):
        files.send_file(workdir, request, sys.stdout.buffer, _line({"ok": None}))
    elif isinstance(request, FollowRequest):
        pieces = jobs.follow_log(workdir, request, _is_left)
        _write({"ok": None})
        for piece in pieces:
            sys.stdout.buffer.write(_line({"piece": asdict(PieceHead(piece.offset, len(piece.text)))}) + piece.text)
            sys.stdout.buffer.flush()
    elif isinstance(request, CancelRequest):
        _write({"ok": _plain(jobs.cancel_training(workdir, request, _report))})
    elif kind in _DATA_HANDLERS:
        _write({"ok": _plain(_DATA_HANDLERS[kind](workdir, request, data))})
    elif kind in _HANDLERS:
        _write({"ok": _plain(_HANDLERS[kind](workdir, request))})
    else:
        raise ModelError(f"there is no request {content.get('do')!r}; use the same version of kdtui on both machines")


def _is_left() -> bool:
    """Wait a moment, and tell whether the client has hung up; then stdin is at its end."""
    return bool(select.select([0], [], [], _LOOK)[0])


def _report(event: Stopping) -> None:
    _write({"stopping": asdict(event)})


def _plain(answer: Any) -> object:
    return None if answer is None else asdict(answer)


def _line(content: dict[str, object]) -> bytes:
    return json.dumps({"protocol": PROTOCOL, **content}).encode() + b"\n"


def _write(content: dict[str, object]) -> None:
    sys.stdout.buffer.write(_line(content))
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
