"""The readers of what comes from outside, with examples. Each reads any bytes, or refuses them in one sentence."""

import io
import json
import os
import struct
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from unicodedata import category
from unittest.mock import patch

import msgspec
import numpy as np
from safetensors.numpy import save

from kdtui.distill.prompt_files import own_prompt_file, prompt_text
from kdtui.exchange.bundlerec import read_directory
from kdtui.exchange.jsonl import read_sessions
from kdtui.exchange.knowledge_files import KnowledgeLine, encode_knowledge, read_knowledge
from kdtui.exchange.lines import bounded_lines
from kdtui.exchange.pasted_text import read_stream, read_typed
from kdtui.text import log_line, one_line
from kdtui.tui.config import THEMES, read_config
from kdtui.workflows.adapters.exchange_router import _read as read_router
from kdtui.workflows.data.import_dataset import import_dataset
from kdtui.workflows.knowledge.mine_patterns import mine_patterns
from kdtui.workflows.knowledge.pieces import numbers_of
from kdtui.workflows.knowledge.query import parse_query
from kdtui.workflows.number_ranges import parse_numbers
from kdtui.workflows.studies.spec_files import parsed_spec
from models.adapters.base_shape import base_shape
from models.adapters.deltas import read_safetensors
from models.adapters.foreign import check_config, read_described
from models.chat_template import render_chat_template
from models.completion import RefusedInAnswer, read_completion
from models.embedded import ENCODER_DIMENSIONS
from models.endpoint.json_answer import parse_answer
from models.endpoint.json_in_text import without_thoughts
from models.errors import ModelError
from models.files.gguf_vectors import check_layout, gguf_layout, gguf_sizes, gguf_vectors
from store.database import open_database
from store.sqlite import Database
from tests.faults.host_readers import host_readers
from tests.faults.opener import Opener
from tests.faults.reader import JSON, Reader, as_text, in_file
from tests.support.tiny import make_adapter, make_model

_UNFIT = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Categories of characters that move the cursor, hide text, or end a line."""

_OPENER = Opener()

_WEIGHTS = 600_000
"""Bytes of weights, all zero, of a model whose input is only its header."""


def _in_directory(data: bytes) -> object:
    """Read a BundleRec directory; the files are separated by lines with their names."""
    with TemporaryDirectory() as folder:
        for part in data.split(b"\n=== "):
            name, _, content = part.partition(b"\n")
            if len(name) < 40 and name.removesuffix(b".csv").replace(b"_", b"").isalpha():
                (Path(folder) / name.decode("ascii", "replace")).write_bytes(content + b"\n")
        return read_directory(Path(folder))


def _sessions(data: bytes) -> object:
    return list(read_sessions(bounded_lines(io.BytesIO(data), "input"), "input"))


def _stream(data: bytes) -> object:
    return list(read_stream(bounded_lines(io.BytesIO(data), "input"), "input"))


def _answer(data: bytes) -> object:
    text = as_text(data)
    without_thoughts(text)
    bundles = parse_answer(text, 6, 0.5)
    for bundle in bundles:
        assert len(bundle.positions) > 1
        assert set(bundle.positions) <= set(range(1, 7))
        assert bundle.intent.isprintable()
    return bundles


def _completion(data: bytes) -> object:
    try:
        return read_completion(data, "the server", "model", lambda value: one_line(str(value), 200))
    except RefusedInAnswer as error:
        # The client of a server adds the words of the server, if there are any, to its own.
        raise ModelError(error.refusal.words or "an error") from error


def _display(data: bytes) -> object:
    for line in (one_line(as_text(data)), log_line(data)):
        assert all(category(character) not in _UNFIT or character in "\u200c\u200d" for character in line), line
    return None


def _gguf(path: Path) -> object:
    check_layout(path, "model")
    gguf_sizes(path)
    return list(gguf_vectors(path))


def _model(path: Path) -> object:
    os.truncate(path, path.stat().st_size + _WEIGHTS)
    _OPENER.open(path, "model")
    return None


def _lora(path: Path) -> object:
    _OPENER.open(path, "adapter")
    return None


def _prompt(data: bytes) -> object:
    with TemporaryDirectory() as folder, patch.dict(os.environ, {"XDG_CONFIG_HOME": folder}):
        path = own_prompt_file("judge")
        path.parent.mkdir(parents=True)
        path.write_bytes(data)
        return prompt_text("judge", products="1. Tent", intent="camping")


def _config(path: Path) -> object:
    return read_config(path, frozenset(THEMES))


def _adapter(path: Path) -> object:
    config = read_described(path)
    check_config(config)
    return config


@cache
def _store() -> tuple[Database, "TemporaryDirectory[str]"]:
    """Return a store with some knowledge, and its folder, which is deleted at the end."""
    folder = TemporaryDirectory()
    db = open_database(Path(folder.name) / "kdtui.db")
    list(import_dataset(db, Path(str(files("kdtui") / "demo_data" / "outdoor.jsonl")), "outdoor"))
    mine_patterns(db, "outdoor")
    return db, folder


def _search(data: bytes) -> object:
    return numbers_of(_store()[0], parse_query(as_text(data)))


def _template(data: bytes) -> object:
    messages = [{"role": "user", "content": "Hello"}]
    return render_chat_template(
        as_text(data), {"messages": messages, "add_generation_prompt": True, "eos_token": "</s>"}
    )


_DEMO = (files("kdtui") / "demo_data" / "outdoor.jsonl").read_bytes().splitlines(keepends=True)

_PIECE = {
    "id": 1,
    "format": "rule",
    "statement": "Put tents with mats",
    "content": json.dumps({"text": "Put tents with mats", "together": True, "categories": [["A"], ["B"]]}),
    "teacher": "annotations",
    "status": "kept",
    "reason": None,
}

_ROUTER = {
    "kind": "router",
    "routes": [
        {"name": name, "folder": f"1-{name}", "score": 0.5, "bias": 0.1, "weights": {"ln(products)": 1.0}}
        for name in "ab"
    ],
    "mean": {"ln(products)": 3.0, "like outdoor": 0.5},
    "spread": {"ln(products)": 1.5, "like outdoor": 0.5},
    "centres": {"outdoor": [0.05] * ENCODER_DIMENSIONS},
    "datasets": ["outdoor"],
    "sessions": 12,
    "penalty": None,
}

_COMPLETION = {
    "choices": [{"message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2},
}

_STUDY = b"""name = "x"
dataset = ["a"]
[[question]]
title = "t"
compare = "formats"
baseline = "none"
formats = ["none", "rule"]
"""

_DIRECTORY = b"""session_item.csv
session ID,item ID
1,a
1,b
1,c
=== session_bundle.csv
session ID,bundle ID
1,x
=== bundle_item.csv
bundle ID,item ID
x,a
x,b
=== bundle_intent.csv
bundle ID,intent
x,camping
=== item_titles.csv
item ID,titles
a,Tent
b,Mat
c,Phone
=== item_categories.csv
item ID,categories
a,"[[Outdoor,Tents]]"
b,"[[Outdoor,Mats],[Outdoor,Sleeping]]"
c,"[[Phones]]"
"""


def _tiny_gguf() -> bytes:
    with TemporaryDirectory() as folder:
        return make_model(Path(folder) / "tiny.gguf", remember=False).read_bytes()


def _header(gguf: bytes) -> bytes:
    """Return a model without its weights."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "tiny.gguf"
        path.write_bytes(gguf)
        return gguf[: min(start for *_, start in gguf_layout(path, "model").tensors)]


def _tiny_adapter() -> bytes:
    with TemporaryDirectory() as folder:
        return make_adapter(Path(folder) / "adapter.gguf").read_bytes()


def _parquet() -> bytes:
    return b"".join(encode_knowledge([msgspec.convert(_PIECE, KnowledgeLine)] * 3, "parquet"))


def _safetensors() -> bytes:
    weights = {f"base_model.model.x.lora_{each}.weight": np.ones((2, 2), np.float16) for each in "AB"}
    data: bytes = save(weights)
    return data


def readers() -> Sequence[Reader]:
    """Return all readers. Their examples take a moment to make."""
    numbers = tuple(struct.pack("<Q", number) for number in (0, 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1))
    halves = tuple(struct.pack("<I", number) for number in (0, 1, 2, 9, 2**31, 2**32 - 1, 0x7FC00000))
    gguf = _tiny_gguf()
    return (
        Reader("sessions as JSON Lines", _sessions, [b"".join(_DEMO[:3])], JSON),
        Reader("sessions on stdin", _stream, [b"Tent\nMat\n\nPhone\n", _DEMO[0]], (*JSON, b"\n\n", b"\xef\xbb\xbf")),
        Reader(
            "typed products",
            lambda data: read_typed(as_text(data)),
            [b"Tent | Mat\nPhone"],
            (b"|", b"\n\n", b"\xe2\x80\xa8"),
        ),
        Reader("a BundleRec directory", _in_directory, [_DIRECTORY], (b'"', b"['", b"\n=== ", b"\x00", b"&#x110000;")),
        Reader("knowledge", in_file("knowledge.jsonl", read_knowledge), [json.dumps(_PIECE).encode()], JSON),
        Reader(
            "a folder of knowledge in Parquet",
            in_file("knowledge.parquet", lambda path: read_knowledge(path.parent)),
            [_parquet()],
            (b"PAR1", *numbers),
            weight=0.1,
            quick=10,
            elsewhere=True,
        ),
        Reader("a router", in_file("router.json", read_router), [json.dumps(_ROUTER).encode()], (*JSON, b'"../x"')),
        Reader(
            "a prompt for teachers",
            _prompt,
            [b"Is this an intent? $products and ${intent}, for $$5"],
            (b"$", b"${", b"}", b"\xff", b"\x00", b"$intent"),
        ),
        Reader(
            "an answer of a model",
            _answer,
            [b'{"bundles": [{"products": [1, 2], "intent": "camping"}]}'],
            (*JSON, b"<think>", b"</think>", b"```json"),
        ),
        Reader(
            "the body of an answer",
            _completion,
            [json.dumps(_COMPLETION).encode()],
            (*JSON, b'"error"', b'"refusal"', b'"tool_calls"'),
        ),
        Reader(
            "the display of titles and logs",
            _display,
            ["\x1b[31mred\x1b[0m \u202ertl\u202c [red]x[/]".encode()],
            (
                b"\x1b]8;;http://x\x07",
                b"\x1b]52;c;aGk=\x07",
                b"\x9b",
                b"\r",
                b"\x08",
                "\u202e".encode(),
                "\U000e0001".encode(),
                b"\xed\xa0\x80",
            ),
        ),
        Reader("the header of a GGUF file", in_file("model.gguf", _gguf), [gguf], numbers),
        Reader(
            "a model in llama.cpp",
            in_file("model.gguf", _model),
            [_header(gguf)],
            (*numbers, *halves),
            weight=0.05,
            quick=2,
            elsewhere=True,
        ),
        Reader(
            "an adapter in llama.cpp",
            in_file("adapter.gguf", _lora),
            [_tiny_adapter()],
            (*numbers, *halves),
            weight=0.2,
            quick=20,
            elsewhere=True,
        ),
        Reader(
            "the weights of an adapter",
            in_file("adapter_model.safetensors", lambda path: list(read_safetensors(path))),
            [_safetensors()],
            (*JSON, *numbers, b'"F8_E4M3"', b'"BF16"', b'"data_offsets"'),
        ),
        Reader(
            "the configuration of a base",
            in_file("config.json", lambda path: base_shape(path.parent)),
            [b'{"model_type": "llama", "num_attention_heads": 4, "num_hidden_layers": 2, "text_config": {}}'],
            JSON,
        ),
        Reader(
            "a chat template",
            _template,
            [b"{% for m in messages %}{{ m.role }}: {{ m.content }}{% endfor %}"],
            (b"{{", b"}}", b"{%", b"%}", b"__class__", b"|", b"~", b"+"),
            weight=0.05,
        ),
        Reader(
            "the configuration of an adapter",
            in_file("adapter_config.json", _adapter),
            [b'{"peft_type": "LORA", "r": 8, "lora_alpha": 16, "target_modules": ["q_proj"]}'],
            (*JSON, b"(a+)+$", b'"alpha_pattern"'),
        ),
        Reader(
            "a search for knowledge",
            _search,
            [b"tents format:rule support>0.1 -mats", b"tent* dataset:outdoor", b'"camping tents"'],
            (b'"', b"NEAR(", b"*", b":", b">", b"OR ", b"'; DROP TABLE knowledge; --"),
        ),
        Reader(
            "numbers of pieces",
            lambda data: parse_numbers(as_text(data)),
            [b"3,17,40-52"],
            (b"-", b"9" * 30, "\u0663".encode()),
        ),
        Reader(
            "the specification of a study",
            lambda data: parsed_spec(as_text(data), "input"),
            [_STUDY],
            (b"nan", b"inf", b"1e400", b"[[", b"]]", b'"""', b"9" * 5000),
        ),
        Reader(
            "the configuration of the app",
            in_file("config.toml", _config),
            [b'theme = "nord"\n[keys]\n"app.help" = "f1"\n'],
            (b"[keys", b"]", b"nan", b'"""', b"9" * 5000),
        ),
        *host_readers(),
    )
