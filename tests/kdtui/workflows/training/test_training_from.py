"""Trainings that begin from an adapter: what they inherit, and how they reach a host."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from kdtui.cli import sft_launch
from kdtui.workflows.knowledge.mine_patterns import mine_patterns
from kdtui.workflows.training.plan import BATCH_TOKENS, FEW_BATCH_TOKENS
from kdtui.workflows.training.source_adapters import FEW, find_source
from models.adapters.conversion import convert
from models.adapters.deltas import read_safetensors
from models.adapters.peft_from_gguf import write_peft
from models.embedded import SHIPPED_FOLDER, embedded_student, shipped_adapter
from models.sft.job import CONTINUED_LEARNING_RATE, LEARNING_RATE, read_job
from store.hosts import Host
from store.sqlite import Database
from tests.support import stand_in
from tests.support.adapters import trained_adapter
from tests.support.commands import Kdtui
from tests.support.launching import launch
from tests.support.tiny_studies import train_here
from tests.support.waiting import until

pytestmark = pytest.mark.usefixtures("imported")


def folder(db: Database, name: str) -> Path:
    return Path(db.execute("SELECT folder FROM jobs WHERE name = ?", [name]).fetchone()[0])


@pytest.fixture
def lists(kdtui: Kdtui, base: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A finished training of lists with rank 4."""
    train_here(monkeypatch)
    result = launch(kdtui, base, "lists", "--form", "list", "--epochs", 1, "--rank", 4, "--alpha", 6)
    assert result.code == 0, result.err
    return "lists"


@pytest.mark.slow
def test_it_inherits_open_terms_and_shows_its_source_and_whether_it_helped(
    lists: str, kdtui: Kdtui, base: Path, db: Database
) -> None:
    result = kdtui("sft", "launch", "--name", "more", "--from", lists, "--epochs", 1, "--follow")
    assert result.code == 0, result.err
    assert "beginning from lists" in result.err
    assert "2 validation sessions cannot show whether the training helped, and 6 or more can" in result.err
    assert "teach little" not in result.err
    job = read_job(folder(db, "more") / "job.json")
    assert (job.base, job.lora.rank, job.lora.alpha) == (str(base), 4, 6.0)
    assert job.optimizer.learning_rate == CONTINUED_LEARNING_RATE
    assert job.batch_tokens == FEW_BATCH_TOKENS, "so that a few sessions are several steps"
    [shown] = kdtui("sft", "show", "more", "--json").rows
    assert (shown["began_from"], shown["form"]) == (lists, "list")
    assert shown["outcome"]["source"]["name"] == lists
    manifest = json.loads((folder(db, "more") / "adapter" / "manifest.json").read_text())
    assert manifest["began_from"] == lists
    # Its source is gone, but it is complete.
    assert kdtui("sft", "rm", lists, "--yes").code == 0
    assert kdtui("generate", "o34", "--adapter", "more").code == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--form", "pairs"), "'lists' was trained to write lists of bundles, and not to answer about pairs"),
        (("--rank", "16"), "'lists' has rank 4, and a training from it keeps that; leave out --rank"),
        (("--alpha", "1"), "'lists' has alpha 6, and a training from it keeps that; leave out --alpha"),
        (("--as", "target"), "'lists' was trained without writing thoughts; leave out --as"),
        (("--base", "smollm2"), "lists: it was trained with another chat template than that of"),
    ],
)
def test_options_that_contradict_the_adapter_are_refused(
    lists: str, kdtui: Kdtui, db: Database, options: tuple[str, ...], message: str
) -> None:
    result = kdtui("sft", "launch", "--name", "other", "--from", lists, *options)
    assert result.code == 1
    assert message in result.err
    assert len(result.err.splitlines()) == 1
    assert not (folder(db, lists).parent / "other").exists()


def test_other_knowledge_is_announced_and_trained_with(lists: str, kdtui: Kdtui, db: Database) -> None:
    mine_patterns(db, "outdoor")
    result = kdtui("sft", "launch", "--name", "other", "--from", lists, "--knowledge", "pattern", "--dry-run")
    assert result.code == 0, result.err
    assert "adapter lists was trained with no knowledge; this training has patterns" in result.err


def test_missing_files_of_the_adapter_are_named(lists: str, kdtui: Kdtui, db: Database) -> None:
    (folder(db, lists) / "adapter" / "adapter_model.safetensors").unlink()
    result = kdtui("sft", "launch", "--name", "other", "--from", lists)
    assert (result.code, "adapter_model.safetensors is missing" in result.err) == (1, True)


def test_an_unfinished_training_is_refused_as_a_source(lists: str, kdtui: Kdtui, db: Database) -> None:
    (folder(db, lists) / "exit_code").write_text("1")
    result = kdtui("sft", "launch", "--name", "other", "--from", lists)
    assert (result.code, "training 'lists' has no adapter to begin from yet; it is failed" in result.err) == (1, True)


@pytest.mark.slow
def test_a_training_can_begin_from_a_folder_or_a_file(
    lists: str, kdtui: Kdtui, db: Database, tmp_path: Path, base: Path
) -> None:
    adapter = shutil.copytree(folder(db, lists) / "adapter", tmp_path / "copied")
    convert(adapter, base, tmp_path / "copied.gguf")
    for number, source in enumerate((adapter, tmp_path / "copied.gguf")):
        result = kdtui("sft", "launch", "--name", f"more{number}", "--from", source, "--base", base, "--epochs", 1)
        assert result.code == 0, result.err
        job = folder(db, f"more{number}")
        assert read_job(job / "job.json").lora.rank == 4
        assert (job / "adapter" / "answers.jsonl").is_file()
        copied = dict(read_safetensors(job / "start" / "adapter_model.safetensors"))
        for name, values in read_safetensors(adapter / "adapter_model.safetensors"):
            np.testing.assert_allclose(copied[name], values, rtol=1e-6, atol=1e-7)


def test_an_added_adapter_keeps_its_base_or_says_to_name_it(
    kdtui: Kdtui, db: Database, tmp_path: Path, base: Path
) -> None:
    trained_adapter(db, tmp_path, "theirs", base)
    assert kdtui("model", "export", "theirs", "--output", tmp_path / "out").code == 0
    assert kdtui("model", "add", tmp_path / "out", "--name", "given").code == 0
    refused = kdtui("sft", "launch", "--name", "more", "--from", "given", "--dry-run")
    assert (refused.code, len(refused.err.splitlines())) == (1, 1)
    assert re.search(r"chat template than that of .*, on tiny.gguf; name its base with --base$", refused.err.strip())
    assert kdtui("model", "add", base, "--name", "their-base").code == 0
    assert find_source(db, "given").base == "their-base"
    begun = kdtui("sft", "launch", "--name", "more", "--from", "given", "--dry-run")
    assert begun.code == 0, begun.err


def test_the_shipped_adapter_is_the_same_from_its_gguf_file(tmp_path: Path) -> None:
    write_peft(shipped_adapter(), embedded_student(), tmp_path)
    found = dict(read_safetensors(tmp_path / "adapter_model.safetensors"))
    wanted = dict(read_safetensors(SHIPPED_FOLDER / "adapter_model.safetensors"))
    assert found.keys() == wanted.keys()
    for name, values in wanted.items():
        np.testing.assert_allclose(found[name].astype(np.float32), values.astype(np.float32), rtol=2e-3, atol=1e-6)
    assert json.loads((tmp_path / "manifest.json").read_text())["form"] == "intents"


def test_a_training_can_begin_from_the_shipped_adapter(db: Database) -> None:
    source = find_source(db, "shipped")
    assert (source.rank, source.alpha, source.base) == (8, 8.0, "smollm2")
    assert source.trained is not None
    assert source.trained.form == "intents"


def test_with_few_sessions_a_launch_proposes_an_adapter(kdtui: Kdtui) -> None:
    result = kdtui("sft", "launch", "--name", "few", "--dry-run")
    assert result.code == 0, result.err
    assert (
        "6 training sessions teach little from the base alone; begin from an adapter with: "
        "kdtui sft launch --name few --dataset outdoor --from shipped"
    ) in result.err
    assert "teach little" not in result.out
    assert "teach little" not in kdtui("sft", "launch", "--name", "few", "--dry-run", "--from", "shipped").err
    # No local adapter was trained for that.
    assert "teach little" not in kdtui("sft", "launch", "--name", "few", "--dry-run", "--form", "list").err


@pytest.mark.slow
@pytest.mark.usefixtures("server")
def test_it_goes_to_its_host_with_the_adapter(kdtui: Kdtui, lists: str, host: Host, db: Database) -> None:
    assert kdtui("host", "add", host.name, "--ssh", host.ssh, "--workdir", host.workdir).code == 0
    stand_in.set_up(Path(host.workdir))
    assert kdtui("sft", "launch", "--name", "far-one", "--from", lists, "--host", host.name).code == 0
    there = Path(host.workdir) / "jobs" / "far-one"
    until((there / "exit_code").exists)
    here = folder(db, "far-one")
    brought = {path.name: path.read_bytes() for path in (there / "start").iterdir()}
    assert brought == {path.name: path.read_bytes() for path in (here / "start").iterdir()}
    # A client that never had it fetches it with the training.
    shutil.rmtree(here / "start")
    (here / "train.jsonl").unlink()
    kdtui("sft", "resume", "far-one", "--local")
    assert brought == {path.name: path.read_bytes() for path in (here / "start").iterdir()}


def test_the_help_shows_the_default_learning_rates() -> None:
    assert (float(sft_launch.RATE), float(sft_launch.CONTINUED_RATE)) == (LEARNING_RATE, CONTINUED_LEARNING_RATE)
    assert f"{BATCH_TOKENS}, or {FEW_BATCH_TOKENS} with {FEW} training sessions or fewer" == sft_launch.BATCH
