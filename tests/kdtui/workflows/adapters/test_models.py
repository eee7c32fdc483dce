"""`kdtui model`: models are named and quantized."""

import json
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from models.adapters.conversion import MANIFEST_KEY
from models.adapters.provenance import about_base
from models.embedded import embedded_student
from models.errors import ModelError
from models.llama.model import LlamaModel
from models.llama.quantization import QUANTIZATIONS, model_info, quantize_file, quantizing, suitable_quantization
from store.jobs import add_job
from store.models import NamedModel, add_model
from store.records import TrainingSettings
from store.sqlite import Database
from tests.support.commands import Kdtui
from tests.support.fake_hub import add_from_hub, serving_hub
from tests.support.repository import ROOT
from tests.support.tiny import make_adapter, make_model
from tests.support.waiting import PATIENCE

TITLES = ("-t", "Two-person tent", "-t", "Tent pegs", "-t", "Phone case")


def hang() -> None:
    """A stand-in for a trial that never ends; another process finds it by its name."""
    time.sleep(60)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return make_model(tmp_path / "tiny.gguf", width=128)


def test_the_embedded_student_is_listed_with_its_metadata(kdtui: Kdtui) -> None:
    [row, shipped, encoder] = kdtui("model", "ls", "--json").rows
    assert (encoder["name"], encoder["kind"], encoder["architecture"]) == ("minilm", "encoder", "bert")
    assert (shipped["name"], shipped["kind"]) == ("shipped", "adapter")
    assert (row["name"], row["architecture"], row["quantization"]) == ("smollm2", "llama", "Q4_1")
    assert row["context"] == 8192
    assert row["bytes"] == embedded_student().stat().st_size
    assert "smollm2" in kdtui("model", "ls").out


def test_a_file_gets_a_name_and_answers_by_it(kdtui: Kdtui, tiny: Path) -> None:
    assert "--student mine" in kdtui("model", "add", tiny, "--name", "mine").err
    assert [row["name"] for row in kdtui("model", "ls", "--json").rows] == ["smollm2", "shipped", "minilm", "mine"]
    assert kdtui("generate", *TITLES, "--student", "mine", "--json").rows[0]["bundles"]
    kdtui("model", "rm", "mine", "--yes")
    assert tiny.exists(), "it is the user's"
    assert (
        "there is no student 'mine'; there are: shipped, smollm2, patterns"
        in kdtui("generate", *TITLES, "-s", "mine").err
    )


@pytest.mark.slow
def test_a_quantized_model_is_a_student_of_its_own(kdtui: Kdtui, database_of_the_test: Path) -> None:
    result = kdtui("model", "quantize", "smollm2", "--to", "q4_0")
    assert result.code == 0
    assert result.out == ""
    path = database_of_the_test.parent / "models" / "smollm2-q4_0.gguf"
    assert model_info(path).quantization == "Q4_0"
    assert kdtui("generate", *TITLES, "--student", "smollm2-q4_0", "--json").rows[0]["bundles"]
    again = kdtui("model", "quantize", "smollm2")
    assert (again.code, "there is a model 'smollm2-q4_0' already" in again.err) == (1, True)
    kdtui("model", "rm", "smollm2-q4_0", "--yes")
    assert not path.exists(), "it is kdtui's"


@pytest.mark.parametrize("kind", QUANTIZATIONS)
def test_every_quantization_can_be_read_again(tiny: Path, tmp_path: Path, kind: str) -> None:
    target = tmp_path / "made" / "target.gguf"
    quantize_file(tiny, target, kind, 1)
    assert model_info(target).parameters == model_info(tiny).parameters
    assert [path.name for path in target.parent.iterdir()] == ["target.gguf"]


def test_a_damaged_model_is_not_quantized_and_leaves_nothing(tiny: Path, tmp_path: Path) -> None:
    tiny.write_bytes(tiny.read_bytes()[:-5000])
    with pytest.raises(ModelError, match="cannot"):
        quantize_file(tiny, tmp_path / "made" / "target.gguf", "Q4_0", 1)
    assert not list((tmp_path / "made").glob("*"))


def test_a_deleted_file_is_listed_as_missing(kdtui: Kdtui, tiny: Path) -> None:
    kdtui("model", "add", tiny)
    tiny.unlink()
    [*_, row] = kdtui("model", "ls", "--json").rows
    assert row["quantization"] is None
    assert "No such file" in row["problem"]
    assert "No such file" in kdtui("model", "ls").out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["add", "none.gguf"], "none.gguf: No such file"),
        (["add", "TINY", "--name", "smollm2"], "comes with kdtui"),
        (["add", "TINY", "--name", "minilm"], "comes with kdtui"),
        (["add", "TINY", "--name", "a b"], "cannot be a name"),
        (["add", "TINY", "--name", "../x"], "cannot be a name"),
        (["add", "TINY", "--name", "x.gguf"], "--student takes it for a file"),
        (["quantize", "nobody"], "there is no student 'nobody'"),
        (["quantize", "smollm2", "--to", "Q3"], "there is no quantization 'Q3'; there are: Q4_0"),
        (["rm", "nobody"], "there is no model 'nobody'"),
        (["rm", "smollm2"], "there is no model 'smollm2'"),
    ],
)
def test_an_impossible_request_is_one_sentence(kdtui: Kdtui, tiny: Path, arguments: list[str], message: str) -> None:
    result = kdtui("model", *[str(tiny) if each == "TINY" else each for each in arguments])
    assert (result.code, len(result.err.splitlines())) == (1, 1)
    assert message in result.err


def test_the_suitable_quantization_is_one_with_kernels_for_the_processor() -> None:
    assert suitable_quantization(["AVX2", "REPACK"], gpu=False)[0] == "Q4_0"
    assert suitable_quantization(["NEON"], gpu=True)[0] == "Q4_K_M"
    assert "memory" in suitable_quantization([], gpu=False)[1]


@pytest.mark.slow
def test_doctor_says_whether_llama_cpp_decodes_and_what_suits(kdtui: Kdtui, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {row["name"]: row for row in kdtui("doctor", "--json").rows}
    assert found["decoding"]["state"] == "ok"
    assert "kdtui model quantize smollm2 --to Q4" in found["quantization"]["found"]
    # A crashing build ends the trial, but not the doctor.
    monkeypatch.setattr("models.llama.selftest.main", os.abort)
    result = kdtui("doctor", "--json")
    assert result.code == 1
    [decoding] = [row for row in result.rows if row["name"] == "decoding"]
    assert decoding["state"] == "missing"
    assert "ends by signal 6" in decoding["found"]
    monkeypatch.setattr("models.llama.selftest.main", hang)
    monkeypatch.setattr("kdtui.workflows.diagnose._PATIENCE", 0.5)
    [decoding] = [row for row in kdtui("doctor", "--json").rows if row["name"] == "decoding"]
    assert "takes longer than 0.5 seconds" in decoding["found"]


@pytest.mark.slow
def test_the_doctor_is_not_misled_by_what_is_in_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "models.py").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    command = [sys.executable, "-P", "-m", "kdtui", "doctor", "--json"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert '"name": "decoding", "state": "ok"' in result.stdout


def test_an_interrupt_ends_a_quantization_and_leaves_nothing(database_of_the_test: Path, kdtui: Kdtui) -> None:
    part = database_of_the_test.parent / "models" / "big.gguf.part"
    command = [sys.executable, "-m", "kdtui", "model", "quantize", "smollm2", "--to", "F32", "--name", "big"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while not part.exists() and process.poll() is None:
            time.sleep(0.005)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert not list(part.parent.iterdir())
    assert [row["name"] for row in kdtui("model", "ls", "--json").rows] == ["smollm2", "shipped", "minilm"]


@pytest.mark.skipif(sys.platform == "win32", reason="limits of files are POSIX")
def test_a_full_disk_is_reported_for_the_target(database_of_the_test: Path) -> None:
    code = 'ulimit -f 20000; exec "$0" -m kdtui model quantize smollm2'
    result = subprocess.run(["bash", "-c", code, sys.executable], capture_output=True, text=True, check=False)
    folder = database_of_the_test.parent / "models"
    assert (result.returncode, len(result.stderr.splitlines())) == (1, 1)
    assert f"{folder / 'smollm2-q4_0.gguf'}: cannot be written whole" in result.stderr
    assert not list(folder.iterdir())


def test_an_existing_file_is_never_overwritten(kdtui: Kdtui, database_of_the_test: Path) -> None:
    folder = database_of_the_test.parent / "models"
    folder.mkdir(parents=True)
    mine = make_model(folder / "mine.gguf", width=128)
    before = mine.read_bytes()
    result = kdtui("model", "quantize", mine, "--name", "mine")
    assert (result.code, "there is a file of this name already" in result.err) == (1, True)
    assert mine.read_bytes() == before
    # Two databases in one folder share it, and neither deletes the other's model.
    other = ("--db", database_of_the_test.with_name("other.db"))
    assert kdtui("model", "quantize", mine, "--name", "made").code == 0
    assert kdtui("model", "quantize", mine, "--name", "made", *other).code == 1
    assert kdtui("model", "rm", "made", "--yes", *other).code == 1
    assert (folder / "made.gguf").exists()


@pytest.fixture
def hub(tiny: Path) -> Iterator[str]:
    """The address of a hub with the repositories `owner/one` and `owner/two`."""
    with serving_hub(tiny) as served:
        yield served.url


def test_a_model_of_a_repository_is_fetched_and_forgotten_with_its_file(
    kdtui: Kdtui, hub: str, database_of_the_test: Path
) -> None:
    result = add_from_hub(hub, "owner/one")
    assert result.returncode == 0, result.stderr
    [*_, row] = kdtui("model", "ls", "--json").rows
    assert (row["name"], row["source"]) == ("one", "owner/one/one.gguf")
    assert Path(row["path"]).is_relative_to(database_of_the_test.parent)
    kdtui("model", "rm", "one", "--yes")
    assert not Path(row["path"]).exists()


@pytest.mark.slow
def test_a_file_that_a_hub_lacks_is_one_sentence(hub: str) -> None:
    several = add_from_hub(hub, "owner/two")
    assert "name the file of owner/two with --file; its GGUF files are: small.gguf, large.gguf" in several.stderr
    assert add_from_hub(hub, "owner/two", "--file", "large.gguf").returncode == 0
    for endpoint, repository, message in (
        (hub, "owner/none", "has no such repository"),
        (hub, "owner/split", "is one part of several"),
        ("http://127.0.0.1:9", "owner/one", "owner/one cannot be fetched"),
    ):
        result = add_from_hub(endpoint, repository)
        assert result.returncode == 1
        assert message in result.stderr
        assert len(result.stderr.strip().splitlines()) == 1


def test_a_base_is_shown_with_its_header(kdtui: Kdtui, tiny: Path) -> None:
    kdtui("model", "add", tiny, "--name", "mine")
    [row] = kdtui("model", "show", "mine", "--json").rows
    assert (row["kind"], row["adapter"], row["fits"]) == ("base", None, [])
    assert (row["info"]["layers"], row["info"]["width"]) == (2, 128)
    assert row["header"]["llama.embedding_length"] == "128"
    out = kdtui("model", "show", "mine").out
    assert "llama.embedding_length" in out
    assert str(tiny) in "".join(out.split())


def test_an_adapter_is_shown_with_its_manifest_and_the_bases_that_it_fits(
    kdtui: Kdtui, db: Database, tmp_path: Path
) -> None:
    others: dict[str, dict[str, Any]] = {
        "right": {},
        "other": {"norm": 2.0},
        "wide": {"width": 128},
        "qwen": {"architecture": "qwen2"},
    }
    for name, changes in others.items():
        assert kdtui("model", "add", make_model(tmp_path / f"{name}.gguf", **changes)).code == 0
    right = tmp_path / "right.gguf"
    pairs = {"bias": 1.25, "score": 0.5}
    manifest = {
        "base": "right.gguf",
        "sample": None,
        "datasets": ["a", "[b]"],
        "calibrations": {"with_evidence": {"pairs": pairs}},
        **about_base(LlamaModel(right), right),
    }
    for name, expected in (("known", manifest), ("foreign", None)):
        path = make_adapter(tmp_path / f"{name}.gguf", manifest=expected)
        add_model(db, NamedModel(name, path, "a training", made=False, kind="adapter"))
    add_job(db, "known", tmp_path, TrainingSettings(("a",)), "key")
    [row] = kdtui("model", "show", "known", "--json").rows
    assert (row["training"], row["adapter"]["manifest"]["datasets"]) == ("known", ["a", "[b]"])
    assert (row["adapter"]["rank"], row["adapter"]["width"], row["adapter"]["layers"]) == (2, 64, 2)
    fits = {each["base"]: each["problem"] for each in row["fits"]}
    assert fits["right"] is None
    assert "trained on other weights than those of other.gguf" in fits["other"]
    assert fits["wide"] == "its width is 128, and the adapter needs 64"
    assert fits["qwen"] == "its architecture is qwen2, not llama"
    out = kdtui("model", "show", "known").out
    assert "calibrations.with_evidence.pairs" in out
    assert "bias 1.25, score 0.5" in out
    assert "a, [b]" in out
    foreign = " ".join(kdtui("model", "show", "foreign").out.split())
    assert "none: this adapter was made elsewhere" in foreign
    assert "right: perhaps; it does not say what it was trained on" in foreign


def test_the_problem_of_a_file_is_shown_too(kdtui: Kdtui, db: Database, tiny: Path, tmp_path: Path) -> None:
    kdtui("model", "add", tiny, "--name", "gone")
    tiny.unlink()
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + b"\xff" * 50)
    add_model(db, NamedModel("broken", broken, "a training", made=False, kind="adapter"))
    assert "No such file" in kdtui("model", "show", "gone", "--json").rows[0]["problem"]
    assert "cannot be read" in kdtui("model", "show", "broken", "--json").rows[0]["problem"]
    result = kdtui("model", "show", "nobody")
    assert (result.code, "there is no model 'nobody'" in result.err) == (1, True)


def test_an_adapter_that_claims_more_than_it_holds_is_shown_as_such(kdtui: Kdtui, db: Database, tmp_path: Path) -> None:
    data = make_adapter(tmp_path / "sound.gguf").read_bytes()
    endless = b"\x01" + bytes(7) + b"x" + struct.pack("<IIQ", 9, 0, 2**60)
    nested = json.dumps({"x": json.loads("[" * 100 + "]" * 100)}).encode()
    key = struct.pack("<Q", len(MANIFEST_KEY)) + MANIFEST_KEY.encode()
    deep = key + struct.pack("<IQ", 8, len(nested)) + nested
    for name, value in (("endless", endless), ("deep", deep)):
        path = tmp_path / f"{name}.gguf"
        path.write_bytes(data[:16] + struct.pack("<Q", 1) + value + data[24:])
        add_model(db, NamedModel(name, path, "a friend", made=False, kind="adapter"))
        assert "this adapter cannot be read" in kdtui("model", "show", name, "--json").rows[0]["problem"]


def test_a_name_of_a_training_is_not_given_to_a_model(kdtui: Kdtui, db: Database, tiny: Path, tmp_path: Path) -> None:
    add_job(db, "camping", tmp_path, TrainingSettings(("a",)), "key")
    result = kdtui("model", "quantize", tiny, "--name", "camping")
    assert (result.code, "there is a training 'camping' already" in result.err) == (1, True)


def test_a_quantization_reports_its_progress_and_can_be_stopped(tmp_path: Path) -> None:
    target = tmp_path / "target.gguf"
    steps = quantizing(embedded_student(), target, "F32", 1)
    assert next(steps) >= 0
    assert next(steps) >= 0
    steps.close()
    assert not list(tmp_path.iterdir())
