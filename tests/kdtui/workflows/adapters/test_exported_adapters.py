"""`kdtui model export`: a folder that others can load, and that reveals nothing about this machine."""

import json
import platform
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub import ModelCard
from peft import PeftModel

from kdtui.workflows.adapters import export
from kdtui.workflows.adapters.local_adapters import public_base
from models.adapters.peft_settings import WEIGHTS
from models.adapters.provenance import adapter_manifest, norms_hash
from models.embedded import HUB_ID, embedded_student, shipped_adapter
from store.jobs import add_job
from store.predictions import PredictedBundle, Prediction, add_prediction
from store.records import RunSettings, TrainingSettings
from store.runs import finish_run, start_run
from store.sessions import iter_sessions
from store.sqlite import Database
from tests.support.adapters import TRAINED, trained_adapter
from tests.support.commands import Kdtui
from tests.support.logits import full_precision, llama_logits, peft_logits, some_tokens
from tests.support.tiny import make_adapter, make_model

pytestmark = pytest.mark.usefixtures("imported")

FILES = {
    "README.md",
    "SHA256SUMS",
    "adapter_config.json",
    "adapter_model.safetensors",
    "base_config.json",
    "camping.gguf",
    "manifest.json",
}


@pytest.fixture
def camping(db: Database, base: Path, tmp_path: Path) -> Path:
    """The folder of an adapter of that name; its base is `tiny.gguf`."""
    return trained_adapter(db, tmp_path, "camping", base, 1, lora_alpha=12).parent


@pytest.fixture
def exported(kdtui: Kdtui, camping: Path, tmp_path: Path) -> Path:
    assert camping.is_dir()
    result = kdtui("model", "export", "camping", "--output", tmp_path / "out", "--licence", "apache-2.0")
    assert (result.code, result.out) == (0, ""), result.err
    return tmp_path / "out"


def card(folder: Path) -> tuple[dict[str, Any], str]:
    """What a hub reads in the card: the data, and the text."""
    read: Any = ModelCard((folder / "README.md").read_text())
    return read.data.to_dict(), read.text


def peft_says(base: Path, folder: Path) -> Any:
    model = full_precision(base)
    return peft_logits(PeftModel.from_pretrained(model, str(folder)).eval(), some_tokens(model.config.vocab_size))


def test_peft_and_llama_cpp_load_it_as_it_is(exported: Path, camping: Path, base: Path) -> None:
    assert {path.name for path in exported.iterdir()} == FILES
    own = peft_says(base, camping / "adapter")
    assert np.array_equal(peft_says(base, exported), own)
    tokens = some_tokens(own.shape[1])
    assert np.abs(llama_logits(base, exported / "camping.gguf", tokens) - own).max() < 1e-3


def test_a_hub_reads_its_card(exported: Path) -> None:
    data, text = card(exported)
    assert (data["base_model"], data["library_name"], data["license"]) == ("tiny.gguf", "peft", "apache-2.0")
    assert {"lora", "product-bundles"} <= set(data["tags"])
    for part in ("PeftModel.from_pretrained", "llama-cli -m BASE.gguf --lora", "--max-lora-rank 8", "kdtui model add"):
        assert part in text
    assert "says which products of a shopping session belong together" in text


def test_every_file_has_its_hash_in_a_list_that_other_programs_check(exported: Path) -> None:
    lines = [line.split("  ") for line in (exported / "SHA256SUMS").read_text().splitlines()]
    assert {name for _, name in lines} == FILES - {"SHA256SUMS"}
    assert all(sha256((exported / name).read_bytes()).hexdigest() == found for found, name in lines)


def test_nothing_in_it_names_this_machine(exported: Path, tmp_path: Path, base: Path) -> None:
    for path in exported.iterdir():
        content = path.read_bytes()
        for place in (tmp_path, base.parent, Path.home(), Path(sys.prefix), Path.cwd()):
            assert str(place).encode() not in content, f"{path.name} names {place}"
        if path.suffix in (".md", ".json"):
            assert platform.node().encode() not in content or len(platform.node()) < 4
    assert adapter_manifest(exported / "camping.gguf")["base"] == "tiny.gguf"


def test_the_card_says_what_it_was_trained_on(
    kdtui: Kdtui, db: Database, camping: Path, base: Path, tmp_path: Path
) -> None:
    (camping / "job.json").write_text(json.dumps({"base": str(base), "lora": {"rank": 4}}))
    (camping / "exit_code").write_text("0")
    add_job(db, "camping", camping, TrainingSettings(("outdoor",)), "key")
    assert kdtui("model", "export", "camping", "-o", tmp_path / "out").code == 0
    text = card(tmp_path / "out")[1]
    count = len(list(iter_sessions(db, "outdoor", split="train")))
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["data"]["outdoor"]["sessions"] == count
    assert f"| `outdoor` | {count} | `{manifest['data']['outdoor']['sha256']}` |" in text
    assert "- seed: 3" in text
    assert "learning rate 0.0005" in text
    assert "rank 4, alpha 32" in text


def test_the_card_of_a_gguf_adapter_from_elsewhere_names_no_data_of_this_store(
    kdtui: Kdtui, camping: Path, base: Path, tmp_path: Path
) -> None:
    kdtui("model", "add", base, "--name", "base")
    (tmp_path / "lone").mkdir()
    (camping / "camping.gguf").rename(tmp_path / "lone" / "given.gguf")
    assert kdtui("model", "add", tmp_path / "lone", "--name", "given").code == 0
    assert kdtui("model", "merge", "given=0.5", "--name", "half").code == 0
    for name in ("given", "half"):
        assert kdtui("model", "export", name, "-o", tmp_path / name).code == 0
        manifest = json.loads((tmp_path / name / "manifest.json").read_text())
        assert (manifest["datasets"], manifest["data"]) == (["outdoor"], {})
        assert "| `outdoor` | not known | not known |" in card(tmp_path / name)[1]


def test_the_card_says_what_it_scores_on_validation_sessions(
    kdtui: Kdtui, db: Database, camping: Path, tmp_path: Path
) -> None:
    assert camping.is_dir()
    for split in ("valid", "test"):
        run = start_run(db, "outdoor", split, "tiny + camping", RunSettings("tiny", adapters=(("camping", 1.0),)))
        for session in iter_sessions(db, "outdoor", split=split):
            positions = tuple(range(1, len(session.items) + 1))
            whole = PredictedBundle(tuple(item.id for item in session.items), positions, "", 1.0)
            add_prediction(db, run, Prediction(session.id, (whole,), None, 0.1))
        finish_run(db, run)
    assert kdtui("model", "export", "camping", "-o", tmp_path / "out").code == 0
    [score] = json.loads((tmp_path / "out" / "manifest.json").read_text())["scores"]
    assert score["n"] == len(list(iter_sessions(db, "outdoor", split="valid")))
    mean, low, high = score["pair_f1"]
    assert 0 <= low <= mean <= high <= 1
    assert f"| `outdoor` | {score['n']} | {mean:.3f} [{low:.3f}, {high:.3f}] |" in card(tmp_path / "out")[1]


def test_a_merged_adapter_says_what_it_was_merged_from(
    kdtui: Kdtui, db: Database, camping: Path, base: Path, tmp_path: Path
) -> None:
    assert camping.is_dir()
    trained_adapter(db, tmp_path, "kitchen", base, 2, {**TRAINED, "datasets": ["[kitchen](x)"]})
    assert kdtui("model", "merge", "camping=0.5", "kitchen", "--name", "both").code == 0
    assert kdtui("model", "export", "both", "-o", tmp_path / "out").code == 0
    text = (tmp_path / "out" / "README.md").read_text()
    assert "| `camping` | 0.5 | 4 |" in text
    assert "the exact weighted sum" in text
    assert "[kitchen]" not in text, "text from outside is no markup"
    assert np.array_equal(peft_says(base, tmp_path / "out"), peft_says(base, tmp_path / "store" / "models" / "both"))


def test_an_adapter_with_patterns_gets_one_rank_for_programs_that_know_no_other(
    kdtui: Kdtui, db: Database, base: Path, tmp_path: Path
) -> None:
    patterns: dict[str, Any] = {"rank_pattern": {"k_proj": 9}, "alpha_pattern": {"up_proj": 3}, "use_rslora": True}
    trained_adapter(db, tmp_path, "uneven", base, 1, **patterns)
    assert kdtui("model", "export", "uneven", "-o", tmp_path / "out").code == 0
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config.get("use_rslora", False)) == (9, 9, False)
    assert not config.get("rank_pattern")
    assert peft_says(base, tmp_path / "out") == pytest.approx(
        peft_says(base, tmp_path / "uneven" / "adapter"), abs=1e-3
    )


def test_an_adapter_that_is_a_gguf_file_alone_is_written_for_peft_too(kdtui: Kdtui, base: Path, tmp_path: Path) -> None:
    foreign = make_adapter(tmp_path / "foreign.gguf")
    refused = kdtui("model", "export", foreign, "-o", tmp_path / "out")
    assert (refused.code, "needs a GGUF file of its base" in refused.err) == (1, True)
    kdtui("model", "add", base, "--name", "base")
    assert kdtui("model", "export", foreign, "-o", tmp_path / "out").code == 0
    there = peft_says(base, tmp_path / "out")
    assert np.abs(there - llama_logits(base, foreign, some_tokens(there.shape[1]))).max() < 1e-3


def test_the_shipped_adapter_names_its_base_as_hubs_do(kdtui: Kdtui, tmp_path: Path) -> None:
    result = kdtui("model", "export", "shipped", "-o", tmp_path / "out")
    assert "for the base HuggingFaceTB/SmolLM2-135M-Instruct" in result.err
    assert "note" not in result.err
    assert (tmp_path / "out" / WEIGHTS).read_bytes() == (shipped_adapter().parent / WEIGHTS).read_bytes()
    assert card(tmp_path / "out")[0]["base_model"] == "HuggingFaceTB/SmolLM2-135M-Instruct"


def test_a_base_is_recognized_in_any_number_of_bits_and_under_any_name(db: Database) -> None:
    manifest = {"base": "/home/me/models/small.gguf", "norms_sha256": norms_hash(embedded_student())}
    assert public_base(db, manifest, {}) == HUB_ID
    assert public_base(db, {"base": "/home/me/models/other.gguf"}, {}) == "other.gguf"
    assert public_base(db, {"base": "C:\\\\models\\\\other.gguf"}, {}) == "other.gguf"
    assert public_base(db, {}, {"base_model_name_or_path": "Qwen/Qwen3-0.6B"}) == "Qwen/Qwen3-0.6B"


def test_a_base_that_no_hub_knows_can_be_named(kdtui: Kdtui, camping: Path, tmp_path: Path) -> None:
    assert camping.is_dir()
    result = kdtui("model", "export", "camping", "-o", tmp_path / "out")
    assert "tiny.gguf is not the id of a hub model, so others have to find the base themselves" in result.err
    result = kdtui("model", "export", "camping", "-o", tmp_path / "out", "--replace", "--base", "me/tiny")
    assert "note" not in result.err
    assert card(tmp_path / "out")[0]["base_model"] == "me/tiny"
    assert (
        "is not the id of a hub model"
        in kdtui("model", "export", "camping", "-o", tmp_path / "x", "--base", "tiny").err
    )


def test_a_folder_is_replaced_only_if_it_holds_nothing_but_an_export(
    kdtui: Kdtui, exported: Path, tmp_path: Path
) -> None:
    before = {path.name: path.read_bytes() for path in exported.iterdir()}
    again = kdtui("model", "export", "camping", "-o", exported)
    assert (again.code, "out: it exists already" in again.err) == (1, True)
    (exported / "notes.txt").write_text("mine")
    kept = kdtui("model", "export", "camping", "-o", exported, "--replace")
    assert "next to an adapter it holds 'notes.txt', which would be lost" in kept.err
    (exported / "notes.txt").unlink()
    assert {path.name: path.read_bytes() for path in exported.iterdir()} == before
    assert kdtui("model", "export", "camping", "-o", exported, "--replace").code == 0
    assert {path.name: path.read_bytes() for path in exported.iterdir()} != before, "the licence is gone"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "x").touch()
    other = kdtui("model", "export", "camping", "-o", tmp_path / "mine", "--replace")
    assert "mine: it holds 'x', and not an exported adapter" in other.err
    (tmp_path / "mine" / "SHA256SUMS").write_text(f"{'0' * 64}  x\n")
    listed = kdtui("model", "export", "camping", "-o", tmp_path / "mine", "--replace")
    assert "and not an exported adapter" in listed.err
    (tmp_path / "file").touch()
    assert "this is not a folder" in kdtui("model", "export", "camping", "-o", tmp_path / "file").err
    (tmp_path / "empty").mkdir()
    assert kdtui("model", "export", "camping", "-o", tmp_path / "empty").code == 0
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_failed_export_leaves_the_old_folder(kdtui: Kdtui, exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path.name: path.read_bytes() for path in exported.iterdir()}

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    for error in (fail, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)):
        monkeypatch.setattr(export, "convert", error)
        for folder, replace in ((exported, ["--replace"]), (exported.parent / "new", [])):
            assert kdtui("model", "export", "camping", "-o", folder, *replace).code in (1, 130)
    assert {path.name: path.read_bytes() for path in exported.iterdir()} == before
    assert not (exported.parent / "new").exists()
    assert not [path for path in exported.parent.iterdir() if path.name.startswith(".")]


@pytest.mark.skipif(sys.platform == "win32", reason="limits of files are POSIX")
def test_a_full_disk_leaves_nothing(db: Database, base: Path, tmp_path: Path) -> None:
    trained_adapter(db, tmp_path, "large", base, r=100)
    code = 'ulimit -f 800; exec "$0" -m kdtui model export large -o "$1"'
    command = ["bash", "-c", code, sys.executable, str(tmp_path / "out")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, len(result.stderr.splitlines())) == (1, 1), result.stderr
    assert not [path for path in tmp_path.iterdir() if path.name.startswith((".", "out"))]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("smollm2", "smollm2 is a base, and only adapters are exported; its file is complete"),
        ("mine", "mine is a base, and only adapters are exported"),
        ("minilm", "minilm is a sentence encoder, and only adapters are exported"),
        ("nobody", "there is no adapter 'nobody'"),
    ],
)
def test_a_model_that_is_not_an_adapter_is_refused_with_advice(
    kdtui: Kdtui, tmp_path: Path, name: str, message: str
) -> None:
    kdtui("model", "add", make_model(tmp_path / "mine.gguf"))
    result = kdtui("model", "export", name, "-o", tmp_path / "out")
    assert (result.code, len(result.err.splitlines())) == (1, 1)
    assert message in result.err
    assert not (tmp_path / "out").exists()
