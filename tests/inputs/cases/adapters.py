"""Adapters that are merged, exported and imported."""

import json
import struct
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from models.adapters.base_shape import base_shape
from models.adapters.deltas import Delta
from models.adapters.folder import write_adapter
from tests.inputs.case import Case
from tests.support.tiny import WIDTH, make_adapter, make_model


def _folder(rank: int = 2) -> dict[str, bytes]:
    """Return the files of a tiny model, and in the folder `a` an adapter for it as PEFT writes it."""
    with TemporaryDirectory() as name:
        base, folder = make_model(Path(name) / "base.gguf"), Path(name) / "a"
        folder.mkdir()
        chance = np.random.default_rng(0)
        a, b = (chance.normal(size=size).astype(np.float32) for size in ((rank, WIDTH), (2 * WIDTH, rank)))
        write_adapter(folder, {"model.layers.0.mlp.up_proj": Delta(a, b, 0.1)}, base_shape(base), "base.gguf")
        make_adapter(Path(name) / "other.gguf")
        return {str(path.relative_to(name)): path.read_bytes() for path in Path(name).rglob("*") if path.is_file()}


_FILES = _folder()
_WEIGHTS, _CONFIG = "a/adapter_model.safetensors", "a/adapter_config.json"
_BASE = ("model", "add", "{tmp}/base.gguf", "--name", "base")
_TAKE = ("model", "add", "{tmp}/a")
_MERGE = ("model", "merge")


def _config(**changes: object) -> dict[str, bytes]:
    return {_CONFIG: json.dumps({**json.loads(_FILES[_CONFIG]), **changes}).encode()}


def _header(length: int, text: bytes = b"") -> dict[str, bytes]:
    return {_WEIGHTS: struct.pack("<Q", length) + text}


_HUGE = json.dumps({"x": {"dtype": "F32", "shape": [2**62, 4], "data_offsets": [0, 2**62]}}).encode()

_SPOILED: tuple[tuple[str, dict[str, bytes], str], ...] = (
    ("claims a list of 2^63 bytes", _header(2**63), f"{_WEIGHTS}: this safetensors file is incomplete or damaged"),
    ("claims a matrix of 2^64 numbers", _header(len(_HUGE), _HUGE), f"{_WEIGHTS}: this safetensors file is incomplete"),
    ("has brackets in brackets", _header(90_000, b"[" * 90_000), f"{_WEIGHTS}: this safetensors file is incomplete"),
    ("is empty", {_WEIGHTS: b""}, f"{_WEIGHTS}: this safetensors file is incomplete or damaged"),
    ("was cut", {_WEIGHTS: _FILES[_WEIGHTS][:-9]}, f"{_WEIGHTS}: this safetensors file is incomplete or damaged"),
    ("has a configuration of brackets", {_CONFIG: b"[" * 90_000}, f"{_CONFIG}: this is not JSON"),
    ("has a configuration of 2 MB", {_CONFIG: b" " * 2**21}, f"{_CONFIG}: it has more than 1,048,576 bytes"),
    ("has UTF-16 for a configuration", {_CONFIG: _FILES[_CONFIG].decode().encode("utf-16")}, "it is UTF-16 text"),
    ("is one of DoRA", _config(use_dora=True), "cannot hold use_dora=True"),
    ("saves whole modules", _config(modules_to_save=["lm_head"]), "cannot hold modules_to_save=['lm_head']"),
    ("has a pattern that never finishes", _config(alpha_pattern={"(x+)+$": 1}), "could take forever to match"),
    (
        "has an infinite alpha",
        _config(lora_alpha=float("inf")),
        "what it adds to model.layers.0.mlp.up_proj is no",
    ),
    ("is a pickle", {"a/adapter_model.bin": b"x"}, "{tmp}/a/adapter_model.bin: this is a pickle"),
    ("lists a file above", {"a/SHA256SUMS": b"0" * 64 + b"  ../x\n"}, "'../x' is not a file of this folder"),
    (
        "does not have its hash",
        {"a/SHA256SUMS": b"0" * 64 + b"  adapter_model.safetensors\n"},
        "its SHA-256 differs",
    ),
    ("has a kind of its own", {"a/manifest.json": b'{"kind": "\\u001b[31m"}'}, "which this version of kdtui does not"),
)

CASES = [
    Case(
        "an adapter is imported",
        _TAKE,
        "a is an adapter, copied to",
        code=0,
        files=_FILES,
        before=(_BASE,),
    ),
    *(
        Case(
            f"an imported adapter {what}",
            _TAKE,
            expected,
            files={**_FILES, **changed},
            before=(_BASE,),
            forbidden=("\x1b",),
        )
        for what, changed, expected in _SPOILED
    ),
    Case(
        "an imported adapter has a rank beyond its base",
        _TAKE,
        "it has a rank of 300, and no weight that it changes has a side of more than 128",
        files={**_folder(300)},
        before=(_BASE,),
    ),
    Case("a folder without an adapter is imported", _TAKE, "there is no adapter in this folder", files={"a/x": b""}),
    Case(
        "an adapter gets a name with control characters",
        (*_TAKE, "--name", "a\x1b[31m"),
        "cannot be a name",
        files=_FILES,
        before=(_BASE,),
        forbidden=("\x1b",),
    ),
    *(
        Case(
            f"adapters are merged with {what}",
            (*_MERGE, *adapters),
            expected,
            files=_FILES,
            before=(_BASE, (*_TAKE, "--name", "one")),
        )
        for what, adapters, expected in (
            (
                "a weight that is not a number",
                ("one=nan",),
                "one: the weight of an adapter is a number such as 0.5, not nan",
            ),
            ("a weight of 0", ("one=0",), "one: the weight of an adapter is a number such as 0.5, not 0"),
            ("an infinite weight", ("one=-inf",), "one: the weight of an adapter is a number such as 0.5, not -inf"),
            ("themselves", ("one", "one=2"), "one is named twice; name it once, with the sum of its weights"),
            ("one that does not exist", ("one", "tow"), "there is no adapter 'tow'"),
            ("a base", ("one", "{tmp}/base.gguf"), "{tmp}/base.gguf: this is not an adapter"),
        )
    ),
    Case(
        "adapters are merged to rank 0",
        (*_MERGE, "x", "--rank", "0"),
        "--rank takes a whole number, 1 or more",
        code=2,
    ),
    Case("no adapters are merged", _MERGE, "ADAPTER[=WEIGHT] is missing", code=2),
    Case(
        "a base is exported",
        ("model", "export", "base", "-o", "{tmp}/out"),
        "base is a base, and only adapters are exported; its file is complete",
        files=_FILES,
        before=(_BASE,),
    ),
    Case(
        "an adapter is exported into a folder of something else",
        ("model", "export", "{tmp}/other.gguf", "-o", "{tmp}/a", "--replace"),
        "{tmp}/a: it holds 'adapter_config.json', and not an exported adapter; choose another folder",
        files=_FILES,
        before=(_BASE,),
    ),
    Case(
        "an adapter is exported without a folder", ("model", "export", "shipped"), "--output FOLDER is missing", code=2
    ),
]
