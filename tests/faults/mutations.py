"""Changes inputs at random: their bytes, and the values in their JSON."""

import json
import random
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

_VALUES: Sequence[Any] = (
    None,
    True,
    False,
    0,
    -1,
    1 << 63,
    10**400,
    0.5,
    1e308,
    float("nan"),
    float("-inf"),
    "",
    "x",
    "../x",
    "x" * 1000,
    "\x1b[31m",
    "\ud800",
    [],
    {},
    [[]],
    ["x"],
    [1, "x", None],
    {"x": 1},
)
"""What replaces a value: of each type, and at the limits of each."""


def mutated(chance: random.Random, examples: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    """Change one of the examples in one to eight places.

    Half of those that hold JSON get other values, and are JSON still: other changes hardly get past a parser.
    """
    example = chance.choice(examples)
    if chance.random() < 0.5:
        with_other_values = _with_other_values(chance, example)
        if with_other_values is not None:
            return with_other_values
    data = bytearray(example)
    for _ in range(chance.choice((1, 1, 2, 3, 5, 8))):
        at = chance.randint(0, len(data))
        to = min(len(data), at + chance.choice((1, 1, 2, 4, 8, 40)))
        match chance.randrange(7):
            case 0 if at < len(data):
                data[at] ^= 1 << chance.randrange(8)
            case 1:
                data[at:to] = b""
            case 2:
                data[at:at] = data[at:to] * chance.choice((1, 2, 50))
            case 3 if words:
                data[at:at] = chance.choice(words)
            case 4 if words:
                word = chance.choice(words)
                data[at : at + len(word)] = word
            case 5:
                data[at:] = chance.choice(examples)[chance.randint(0, len(data)) :]
            case _:
                data[at:to] = chance.randbytes(to - at)
    return bytes(data)


def _with_other_values(chance: random.Random, example: bytes) -> bytes | None:
    """Change values in one of the lines that are JSON, or in the whole input if that is; None if nothing is JSON."""
    lines = [example]
    if _parsed(example) is None:
        lines = example.splitlines(keepends=True)
    with_json = [at for at, line in enumerate(lines) if _parsed(line) is not None]
    if not with_json:
        return None
    at = chance.choice(with_json)
    content = _parsed(lines[at])
    for _ in range(chance.choice((1, 1, 2, 4))):
        _change_value(chance, content)
    end = b"\n" if lines[at].endswith(b"\n") else b""
    lines[at] = json.dumps(content).encode() + end
    return b"".join(lines)


def _parsed(text: bytes) -> Any:
    """Return the object or list that a text holds as JSON; None if it holds something else, or nothing in one."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict | list) and content else None


def _change_value(chance: random.Random, content: Any) -> None:
    """Replace, delete or double a value anywhere in an object or a list."""
    inside = [content]
    for each in inside:
        inside += [
            part for part in (each.values() if isinstance(each, dict) else each) if isinstance(part, dict | list)
        ]
    container = chance.choice([each for each in inside if each] or [content])
    if not container:
        return
    keys = list(container) if isinstance(container, dict) else range(len(container))
    key = chance.choice(keys)
    match chance.randrange(4):
        case 0:
            del container[key]
        case 1 if isinstance(container, dict):
            container[f"{key}x"] = deepcopy(container[key])
        case 1:
            container.append(deepcopy(container[key]))
        case _:
            container[key] = deepcopy(chance.choice(_VALUES))
