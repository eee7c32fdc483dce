"""Commands that run in the process of a test, and their results."""

import io
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest


@dataclass(frozen=True)
class Result:
    """The exit code and the output of a command."""

    code: int
    out: str
    err: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The JSON objects on stdout."""
        return [json.loads(line) for line in self.out.splitlines()]


Kdtui = Callable[..., Result]
"""Runs a command line: `kdtui("data", "ls")`."""


def feed(monkeypatch: pytest.MonkeyPatch, text: str | bytes) -> None:
    """Put this text on the standard input of commands; bytes need not be UTF-8."""
    content = text.encode() if isinstance(text, str) else text
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), encoding="utf-8"))
