"""`kdtui model add FOLDER`: an adapter from somebody else is checked, copied and named."""

import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file

from models.adapters.conversion import convert
from models.adapters.peft_settings import BASE_CONFIG, CONFIG, MANIFEST, WEIGHTS
from models.adapters.provenance import adapter_manifest
from store.models import named_model
from store.sqlite import Database
from tests.support.adapters import peft_folder, trained_adapter
from tests.support.commands import Kdtui
from tests.support.logits import full_precision, llama_logits, peft_logits, some_tokens
from tests.support.tiny import make_adapter, make_model

pytestmark = pytest.mark.usefixtures("imported")

KEY = "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight"


@pytest.fixture
def given(kdtui: Kdtui, db: Database, base: Path, tmp_path: Path) -> Path:
    """A folder that was exported on another machine; its base is on this one, under the name `base`."""
    trained_adapter(db, tmp_path, "first", base, 1)
    assert kdtui("model", "export", "first", "-o", tmp_path / "given").code == 0
    kdtui("model", "rm", "first", "--yes")
    kdtui("model", "add", base, "--name", "base")
    return tmp_path / "given"


@pytest.fixture
def plain(kdtui: Kdtui, base: Path, tmp_path: Path) -> Path:
    """A folder as PEFT itself writes it; its base is on this machine."""
    kdtui("model", "add", base, "--name", "base")
    return peft_folder(tmp_path / "plain", base, 1, told=None)


def says(base: Path, folder: Path) -> Any:
    model = full_precision(base)
    return peft_logits(PeftModel.from_pretrained(model, str(folder)).eval(), some_tokens(model.config.vocab_size))


def kept(db: Database, name: str) -> Path:
    return named_model(db, name).path


def test_an_exported_folder_is_copied_and_used_without_it(kdtui: Kdtui, db: Database, given: Path, base: Path) -> None:
    own = says(base, given)
    result = kdtui("model", "add", given, "--name", "camping")
    assert (result.code, result.out) == (0, "")
    assert "use it with: --adapter camping" in result.err
    assert "note" not in result.err
    shutil.rmtree(given)
    path = kept(db, "camping")
    assert np.array_equal(says(base, path.parent), own)
    assert np.abs(llama_logits(base, path, some_tokens(own.shape[1])) - own).max() < 1e-3
    [shown] = kdtui("model", "show", "camping", "--json").rows
    assert shown["kind"] == "adapter"
    assert {"base": "base", "problem": None, "certain": True} in shown["fits"]
    assert shown["adapter"]["manifest"]["datasets"] == ["outdoor"]
    answer = kdtui("generate", "o34", "--adapter", "camping", "--strategy", "list", "--json")
    assert answer.rows[0]["bundles"], "its base is found by what it was trained on"
    kdtui("model", "rm", "camping", "--yes")
    assert not path.parent.exists()


def test_an_imported_adapter_can_be_merged_and_exported_again(
    kdtui: Kdtui, db: Database, given: Path, base: Path
) -> None:
    own = says(base, given)
    kdtui("model", "add", given, "--name", "one")
    kdtui("model", "add", given, "--name", "two")
    assert kdtui("model", "merge", "one=0.25", "two=0.75", "--name", "both").code == 0
    assert says(base, kept(db, "both").parent) == pytest.approx(own, abs=1e-3)
    assert kdtui("model", "export", "one", "-o", given.parent / "again").code == 0
    assert (given.parent / "again" / WEIGHTS).read_bytes() == (given / WEIGHTS).read_bytes()


def test_a_plain_peft_folder_is_imported_with_a_note(kdtui: Kdtui, db: Database, plain: Path, base: Path) -> None:
    (plain / "optimizer.pt").write_bytes(b"a pickle that nobody reads")
    result = kdtui("model", "add", plain)
    assert result.code == 0, result.err
    assert "it does not say what it was trained on; its weights have the same shapes as those of base" in result.err
    path = kept(db, "plain")
    assert {each.name for each in path.parent.iterdir()} == {
        *(CONFIG, WEIGHTS, BASE_CONFIG, MANIFEST),
        *("plain.gguf", "plain.gguf.sha256"),
    }
    own = says(base, plain)
    assert np.abs(llama_logits(base, path, some_tokens(own.shape[1])) - own).max() < 1e-3


def test_a_folder_with_only_a_gguf_adapter_is_imported(
    kdtui: Kdtui, db: Database, given: Path, base: Path, tmp_path: Path
) -> None:
    (tmp_path / "lone").mkdir()
    shutil.copy(given / "first.gguf", tmp_path / "lone" / "any name.gguf")
    assert "note" not in kdtui("model", "add", tmp_path / "lone").err
    assert kept(db, "lone").read_bytes() == (given / "first.gguf").read_bytes()
    make_adapter(tmp_path / "lone" / "foreign.gguf")
    assert "it has several GGUF files; choose one with --file: any name.gguf, foreign.gguf" in (
        kdtui("model", "add", tmp_path / "lone", "--name", "x").err
    )
    result = kdtui("model", "add", tmp_path / "lone", "--name", "foreign", "--file", "foreign.gguf")
    assert "it does not say what it was trained on" in result.err
    assert kdtui("generate", "o34", "--student", base, "--adapter", "foreign", "--strategy", "list").code == 0


def test_a_missing_base_is_named_and_the_adapter_waits_for_it(
    kdtui: Kdtui, given: Path, base: Path, tmp_path: Path
) -> None:
    kdtui("model", "rm", "base", "--yes")
    result = kdtui("model", "add", given, "--name", "camping")
    assert result.code == 0
    assert "its base, tiny.gguf, is missing; add it with: kdtui model add FILE" in result.err
    asked = kdtui("generate", "o34", "--adapter", "camping")
    assert (asked.code, "needs a GGUF file of its base, tiny.gguf" in asked.err) == (1, True)
    # A base of the same shape with other weights does not fit.
    kdtui("model", "add", make_model(tmp_path / "other.gguf", norm=1.5), "--name", "other")
    assert "needs a GGUF file of its base" in kdtui("generate", "o34", "--adapter", "camping").err
    kdtui("model", "add", base, "--name", "base")
    assert kdtui("generate", "o34", "--adapter", "camping", "--strategy", "list").code == 0


def test_a_plain_folder_cannot_be_converted_without_its_base(
    kdtui: Kdtui, plain: Path, tmp_path: Path, db: Database
) -> None:
    kdtui("model", "rm", "base", "--yes")
    config = json.loads((plain / CONFIG).read_text())
    (plain / CONFIG).write_text(json.dumps({**config, "base_model_name_or_path": "/home/you/models/their-base"}))
    result = kdtui("model", "add", plain)
    assert (result.code, len(result.err.splitlines())) == (1, 1)
    assert "can only be converted with its base, their-base, which is missing" in result.err
    assert not list((tmp_path / "store" / "models").iterdir())
    assert [row["name"] for row in db.query("SELECT name FROM models")] == []


def without_sums(folder: Path) -> None:
    (folder / "SHA256SUMS").unlink()


def change_weights(change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> Callable[[Path], None]:
    def changed(folder: Path) -> None:
        without_sums(folder)
        save_file(change(load_file(folder / WEIGHTS)), folder / WEIGHTS)

    return changed


def change_json(name: str, **fields: Any) -> Callable[[Path], None]:
    def changed(folder: Path) -> None:
        without_sums(folder)
        (folder / name).write_text(json.dumps({**json.loads((folder / name).read_text()), **fields}))

    return changed


def set_header(length: int, header: bytes = b"") -> Callable[[Path], None]:
    def changed(folder: Path) -> None:
        without_sums(folder)
        (folder / WEIGHTS).write_bytes(struct.pack("<Q", length) + header)

    return changed


def link(name: str, target: str) -> Callable[[Path], None]:
    def changed(folder: Path) -> None:
        without_sums(folder)
        shutil.move(folder / name, folder.parent / "outside")
        (folder / name).symlink_to(target)

    return changed


def put(name: str, content: bytes | str) -> Callable[[Path], None]:
    data = content if isinstance(content, bytes) else content.encode()

    def changed(folder: Path) -> None:
        (folder / name).write_bytes(data)

    return changed


def flipped(folder: Path) -> None:
    data = bytearray((folder / WEIGHTS).read_bytes())
    data[-1] ^= 1
    (folder / WEIGHTS).write_bytes(data)


def cut(name: str) -> Callable[[Path], None]:
    def changed(folder: Path) -> None:
        without_sums(folder)
        os.truncate(folder / name, 500)

    return changed


def pipe(folder: Path) -> None:
    without_sums(folder)
    (folder / CONFIG).unlink()
    os.mkfifo(folder / CONFIG)


def unlisted(folder: Path) -> None:
    lines = (folder / "SHA256SUMS").read_text().splitlines(keepends=True)
    (folder / "SHA256SUMS").write_text("".join(line for line in lines if WEIGHTS not in line))


def only_gguf(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def changed(folder: Path) -> None:
        data = (folder / "first.gguf").read_bytes()
        for path in folder.iterdir():
            path.unlink()
        (folder / "first.gguf").write_bytes(change(data))

    return changed


def huge_list(data: bytes) -> bytes:
    """A list of 2^60 numbers in the header, which a naive reader would read one by one."""
    value = b"\x01\0\0\0\0\0\0\0x" + struct.pack("<IIQ", 9, 0, 2**60)
    return data[:16] + struct.pack("<Q", 1) + value + data[24:]


_HUGE = json.dumps({KEY: {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 2**60]}}).encode()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (flipped, f"{WEIGHTS}: its SHA-256 differs from SHA256SUMS"),
        (unlisted, f"{WEIGHTS}: SHA256SUMS does not list it"),
        (put("SHA256SUMS", "0" * 64 + "  ../../etc/passwd\n"), "'../../etc/passwd' is not a file of this folder"),
        (put("SHA256SUMS", "0" * 64 + "  /etc/passwd\n"), "'/etc/passwd' is not a file of this folder"),
        (put("SHA256SUMS", "rubbish\n"), "SHA256SUMS, line 1: this is not a SHA-256"),
        (put("SHA256SUMS", b"x" * 2**21), "SHA256SUMS: it has more than 1,048,576 bytes"),
        (put("adapter_model.bin", b"x"), "adapter_model.bin: this is a pickle"),
        (put("adapter.pt", b"x"), "adapter.pt: this is a pickle"),
        (link(WEIGHTS, "../outside"), f"{WEIGHTS}: this is a link"),
        (link(CONFIG, "/etc/passwd"), f"{CONFIG}: this is a link"),
        (pipe, f"{CONFIG}: this is not a regular file"),
        (set_header(2**63), f"{WEIGHTS}: this safetensors file is incomplete or damaged"),
        (set_header(len(_HUGE), _HUGE), f"{WEIGHTS}: this safetensors file is incomplete or damaged"),
        (set_header(40_000, b"[" * 40_000), f"{WEIGHTS}: this safetensors file is incomplete or damaged"),
        (set_header(2**25, b" " * 2**25), "its list of tensors has 33,554,432 bytes"),
        (cut(WEIGHTS), f"{WEIGHTS}: this safetensors file is incomplete or damaged"),
        (cut(CONFIG), f"{CONFIG}: this is not JSON"),
        (put(CONFIG, "x"), f"{CONFIG}: its SHA-256 differs"),
        (change_json(CONFIG, use_dora=True), "cannot hold use_dora=True"),
        (change_json(CONFIG, bias="all"), "cannot hold bias='all'"),
        (change_json(CONFIG, lora_alpha="x"), "lora_alpha cannot be 'x'"),
        (change_json(CONFIG, r=True), "r cannot be 'True'"),
        (change_json(CONFIG, target_modules=7), "target_modules cannot be '7'"),
        (change_json(CONFIG, target_modules=[["x"]]), "target_modules has to be a list of names"),
        (change_json(CONFIG, auto_mapping={"x": 1}, megatron_config={"x": 1}), "cannot hold megatron_config"),
        (change_json(CONFIG, alpha_pattern={"(a+)+$": 2}), "could take forever to match"),
        (change_json(CONFIG, alpha_pattern={".*.*.*.*.*x": 2}), "could take forever to match"),
        (change_json(CONFIG, alpha_pattern={f"layer{n}": 1 for n in range(5000)}), "5,000 patterns"),
        (change_json(CONFIG, rank_pattern={"x": "y"}), "which is not a number"),
        (change_json(MANIFEST, kind="routed"), "its kind is 'routed', which this version of kdtui does not know"),
        (change_json(MANIFEST, deep=json.loads("[" * 40 + "]" * 40)), f"{MANIFEST}: it is nested too deeply"),
        (change_json(BASE_CONFIG, num_hidden_layers=10**9), "1,000,000,000 layers"),
        (change_json(BASE_CONFIG, num_attention_heads=8), "is not that of its base, base"),
        (change_weights(lambda w: {k: v for k, v in w.items() if k != KEY}), "one matrix for model.layers.0"),
        (change_weights(lambda w: w | {KEY: w[KEY][:-2].clone()}), "which is 64 x 64 in the base"),
        (change_weights(lambda w: {k.replace("layers.1", "layers.9"): v for k, v in w.items()}), "layers.9"),
        (change_weights(lambda w: w | {KEY: w[KEY] * float("nan")}), "is not a number; its weights are damaged"),
        (change_weights(lambda w: w | {"evil": w[KEY].clone()}), "cannot hold evil"),
        (lambda folder: (folder / CONFIG).unlink(), f"{CONFIG}: this file is missing"),
        (only_gguf(lambda data: data[:-9000]), "first.gguf: this adapter cannot be read"),
        (only_gguf(lambda data: data[:300]), "first.gguf: this adapter cannot be read"),
        (only_gguf(huge_list), "first.gguf: this adapter cannot be read"),
        (only_gguf(lambda _: b"rubbish"), "first.gguf: this is not a GGUF file"),
    ],
)
@pytest.mark.slow
def test_a_damaged_or_unsafe_folder_is_one_sentence_and_leaves_nothing(
    kdtui: Kdtui, db: Database, given: Path, tmp_path: Path, damage: Callable[[Path], None], message: str
) -> None:
    damage(given)
    result = kdtui("model", "add", given, "--name", "camping")
    assert (result.code, len(result.err.splitlines())) == (1, 1), result.err
    assert message in result.err
    assert ".part" not in result.err
    assert not list((tmp_path / "store" / "models").iterdir())
    assert [row["name"] for row in db.query("SELECT name FROM models")] == ["base"]


def test_an_adapter_for_another_width_is_refused_by_what_differs(kdtui: Kdtui, plain: Path, tmp_path: Path) -> None:
    wide = make_model(tmp_path / "wide.gguf", width=128)
    kdtui("model", "add", wide, "--name", "wide")
    config = json.loads((plain / CONFIG).read_text())
    (plain / CONFIG).write_text(json.dumps({**config, "base_model_name_or_path": "wide"}))
    result = kdtui("model", "add", plain, "--name", "x")
    assert (result.code, len(result.err.splitlines())) == (1, 1)
    assert "it does not fit wide, on which it was trained: it changes model.layers.0" in result.err


def test_the_metadata_is_rewritten_and_names_no_foreign_folder(kdtui: Kdtui, db: Database, given: Path) -> None:
    change_json(CONFIG, auto_mapping={"parent_library": "os"}, base_model_name_or_path="/home/them/base")(given)
    manifest = json.loads((given / MANIFEST).read_text())
    (given / MANIFEST).write_text(json.dumps({**manifest, "base": "/home/them/tiny.gguf", "note": "\x1b[31mred"}))
    assert kdtui("model", "add", given, "--name", "camping").code == 0
    config = json.loads((kept(db, "camping").parent / CONFIG).read_text())
    assert "auto_mapping" not in config
    assert config["base_model_name_or_path"] == "tiny.gguf"
    assert "them" not in json.dumps(adapter_manifest(kept(db, "camping")))
    assert "\x1b" not in kdtui("model", "show", "camping").out


def test_names_are_checked_before_anything_is_copied(kdtui: Kdtui, given: Path, tmp_path: Path) -> None:
    for name, message in (
        ("none", "'none' cannot be the name of an adapter"),
        ("base", "there is a model 'base' already"),
        ("smollm2", "comes with kdtui"),
        ("../x", "cannot be a name"),
        ("\x1b[31m", "cannot be a name"),
    ):
        result = kdtui("model", "add", given, "--name", name)
        assert (result.code, message in result.err) == (1, True)
        assert "\x1b" not in result.err
    assert not (tmp_path / "store" / "models").exists()


def test_a_folder_without_an_adapter_is_one_sentence(kdtui: Kdtui, tmp_path: Path, base: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "there is no adapter in this folder" in kdtui("model", "add", tmp_path / "empty").err
    (tmp_path / "model").mkdir()
    shutil.copy(base, tmp_path / "model")
    result = kdtui("model", "add", tmp_path / "model", "--name", "x")
    assert (result.code, "name a model with: kdtui model add FILE" in result.err) == (1, True)


def test_a_training_folder_of_kdtui_is_imported_without_its_base(
    kdtui: Kdtui, base: Path, tmp_path: Path, db: Database
) -> None:
    folder = peft_folder(tmp_path / "adapter", base, 2)
    result = kdtui("model", "add", folder, "--name", "moved")
    assert result.code == 0, result.err
    assert "its base, tiny.gguf, is missing" in result.err
    convert(folder, folder, tmp_path / "same.gguf")
    tokens = some_tokens(full_precision(base).config.vocab_size)
    assert np.array_equal(
        llama_logits(base, kept(db, "moved"), tokens), llama_logits(base, tmp_path / "same.gguf", tokens)
    )
