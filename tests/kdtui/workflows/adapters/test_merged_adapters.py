"""`kdtui model merge`: several adapters of one base become one, which is used by its own name."""

import json
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from peft import PeftModel

from kdtui.workflows.knowledge.mine_patterns import mine_patterns
from models.adapters.peft_settings import WEIGHTS
from models.adapters.provenance import adapter_manifest, norms_hash
from store.models import named_model
from store.sqlite import Database
from tests.support.adapters import TRAINED, trained_adapter
from tests.support.commands import Kdtui
from tests.support.logits import full_precision, llama_logits, peft_logits, some_tokens
from tests.support.tiny import TEMPLATE, make_adapter, make_model

pytestmark = pytest.mark.usefixtures("imported")


@pytest.fixture
def two(db: Database, base: Path, tmp_path: Path) -> Path:
    """A base, with an adapter `camping` of rank 4, and a rank-stabilized one, `kitchen`, of rank 9."""
    trained_adapter(db, tmp_path, "camping", base, 1)
    kitchen = {**TRAINED, "datasets": ["outdoor", "kitchen"], "seed": 4}
    trained_adapter(db, tmp_path, "kitchen", base, 2, kitchen, r=9, use_rslora=True)
    return base


def folder_of(db: Database, name: str) -> Path:
    return named_model(db, name).path.parent


def logits(base: Path, folder: Path) -> Any:
    model = full_precision(base)
    tokens = some_tokens(model.config.vocab_size)
    return peft_logits(PeftModel.from_pretrained(model, str(folder)).eval(), tokens)


def test_a_merged_adapter_is_listed_and_says_what_it_was_made_of(kdtui: Kdtui, two: Path, tmp_path: Path) -> None:
    result = kdtui("model", "merge", "camping=0.7", "kitchen=-0.3", "--name", "both")
    assert (result.code, result.out) == (0, "")
    assert "both has rank 13 (4 + 9), which is their exact sum; use it with: --adapter both" in result.err
    [row] = [row for row in kdtui("model", "ls", "--json").rows if row["name"] == "both"]
    assert (row["kind"], row["source"]) == ("adapter", "merged: camping x 0.7 + kitchen x -0.3")
    kdtui("model", "add", two, "--name", "base")
    [shown] = kdtui("model", "show", "both", "--json").rows
    assert shown["adapter"]["rank"] == 13
    assert {"base": "base", "problem": None, "certain": True} in shown["fits"]
    manifest = shown["adapter"]["manifest"]
    assert manifest["norms_sha256"] == norms_hash(two)
    assert (manifest["datasets"], manifest["form"], manifest["kept"]) == (["outdoor", "kitchen"], "pairs", None)
    camping = manifest["merged"]["camping"]
    assert (camping["weight"], camping["rank"], camping["trained"]["seed"]) == (0.7, 4, 3)
    assert camping["sha256"] == sha256((tmp_path / "camping" / "adapter" / WEIGHTS).read_bytes()).hexdigest()
    assert "merged.camping" in kdtui("model", "show", "both").out


def test_it_gives_the_same_logits_in_peft_and_llama_cpp_and_generates(kdtui: Kdtui, db: Database, two: Path) -> None:
    assert kdtui("model", "merge", "camping=0.7", "kitchen=0.5", "--name", "both").code == 0
    path = named_model(db, "both").path
    there = logits(two, path.parent)
    assert np.abs(there - llama_logits(two, path, some_tokens(there.shape[1]))).max() < 1e-3
    answer = kdtui("generate", "o34", "--student", two, "--adapter", "both=0.5", "--strategy", "list", "--json")
    assert answer.rows[0]["bundles"]
    # Without options for the base and the form, it is asked as its parts were trained.
    mine_patterns(db, "outdoor")
    asked = kdtui("generate", "o34", "--adapter", "both", "--show-prompt", "--json")
    assert asked.code == 0, asked.err
    assert len(asked.rows[0]["questions"]) > 1, "a question for each pair"


def test_a_merged_adapter_is_calibrated_like_any_other(
    kdtui: Kdtui, two: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kdtui.workflows.student.calibrate.LEAST_SESSIONS", 2)
    assert kdtui("model", "merge", "camping", "kitchen").code == 0
    named = ("--student", two, "--adapter", "camping-kitchen")
    result = kdtui("calibrate", "--dataset", "outdoor", *named, "--strategy", "pairs")
    assert result.code == 0, result.err
    assert "camping-kitchen" in kdtui("calibrate", "ls").out
    assert kdtui("generate", "o34", *named, "--json").code == 0


def test_a_smaller_rank_says_how_much_it_keeps(kdtui: Kdtui, db: Database, two: Path) -> None:
    result = kdtui("model", "merge", "camping", "kitchen", "--rank", 6, "--name", "small")
    manifest = adapter_manifest(named_model(db, "small").path)
    assert manifest["rank"] == 6
    assert 0.5 < manifest["kept"] < 1
    assert f"small has rank 6 and keeps {manifest['kept']:.2%} of the squared norm of the sum" in result.err
    # A single adapter can be reduced too; its present rank changes nothing.
    assert "has rank 2 and keeps" in kdtui("model", "merge", "kitchen", "--rank", 2, "--name", "two").err
    assert "same has rank 9; use" in kdtui("model", "merge", "kitchen", "--rank", 9, "--name", "same").err
    assert logits(two, folder_of(db, "same")) == pytest.approx(
        logits(two, named_model(db, "kitchen").path.parent / "adapter"), abs=1e-3
    )


def test_files_and_merged_adapters_are_merged_again(kdtui: Kdtui, db: Database, two: Path) -> None:
    kdtui("model", "add", two, "--name", "base")
    path = named_model(db, "camping").path
    assert kdtui("model", "merge", f"{path}=0.5", "kitchen", "--name", "first").code == 0
    assert kdtui("model", "merge", "first", "camping=0.5", "--name", "second").code == 0
    assert kdtui("model", "merge", "camping", "kitchen", "--name", "third").code == 0
    assert logits(two, folder_of(db, "second")) == pytest.approx(logits(two, folder_of(db, "third")), abs=1e-3)


def test_it_can_be_merged_repeatedly(kdtui: Kdtui, db: Database, two: Path) -> None:
    assert two.exists()
    names = ["camping", *(f"m{number}" for number in range(14))]
    for before, name in pairwise(names):
        result = kdtui("model", "merge", f"{before}=0.5", "--name", name)
        assert result.code == 0, result.err
    assert adapter_manifest(named_model(db, "m13").path)["merged"]["m12"]["trained"]["merged"] == "m11"


def test_it_is_deleted_with_its_files_but_not_those_of_its_parts(kdtui: Kdtui, db: Database, two: Path) -> None:
    kdtui("model", "merge", "camping", "kitchen", "--name", "both")
    folder = folder_of(db, "both")
    assert folder.is_dir()
    assert two.exists()
    result = kdtui("model", "rm", "both", "--yes")
    assert f"deleted model both, with {folder}" in result.err
    assert not folder.exists()
    assert named_model(db, "camping").path.exists()


def test_parts_that_are_asked_in_different_ways_are_merged_with_a_note(
    kdtui: Kdtui, db: Database, two: Path, tmp_path: Path
) -> None:
    trained_adapter(db, tmp_path, "lists", two, 3, {**TRAINED, "form": "list"})
    result = kdtui("model", "merge", "camping", "lists", "--name", "mixed")
    assert "say how to ask with --strategy and --knowledge" in result.err
    assert "form" not in adapter_manifest(named_model(db, "mixed").path)


def test_an_adapter_that_does_not_say_its_base_is_merged_with_a_note(kdtui: Kdtui, two: Path, tmp_path: Path) -> None:
    kdtui("model", "add", two, "--name", "base")
    foreign = make_adapter(tmp_path / "foreign.gguf")
    result = kdtui("model", "merge", "camping", foreign, "--name", "with-foreign")
    assert result.code == 0, result.err
    assert "foreign does not say what it was trained on; only its shape was compared" in result.err


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"norm": 1.5}, "trained on other weights"),
        ({"template": TEMPLATE + "{# other #}"}, "trained with another chat template"),
        ({"architecture": "qwen2"}, "for a base of another shape"),
    ],
)
def test_adapters_of_different_bases_are_refused(
    kdtui: Kdtui, db: Database, two: Path, tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    assert two.exists()
    trained_adapter(db, tmp_path, "other", make_model(tmp_path / "other-base.gguf", **changes))
    result = kdtui("model", "merge", "camping", "other", "--name", "both")
    assert (result.code, len(result.err.splitlines())) == (1, 1)
    assert f"camping and other cannot be merged: other was {reason} (their bases: tiny.gguf and other-base.gguf)" in (
        result.err
    )
    assert not (tmp_path / "store" / "models").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["camping=0", "kitchen"], "camping: the weight of an adapter is a number such as 0.5, not 0"),
        (["camping=nan", "kitchen"], "camping: the weight of an adapter is a number such as 0.5, not nan"),
        (["camping=1e40"], "camping: the weight of an adapter is a number such as 0.5, not 1e+40"),
        (["camping", "camping=0.5"], "camping is named twice"),
        (["camping", "nobody"], "there is no adapter 'nobody'"),
        (["camping", "--name", "none"], "'none' cannot be the name of an adapter"),
        (["camping", "--name", "kitchen"], "there is a model 'kitchen' already"),
        (["camping", "--name", "../x"], "cannot be a name"),
        (["camping", "--name", "smollm2"], "comes with kdtui"),
        (["none"], "name the adapters to merge"),
    ],
)
def test_an_impossible_merge_is_one_sentence_and_leaves_nothing(
    kdtui: Kdtui, db: Database, two: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    assert two.exists()
    result = kdtui("model", "merge", *arguments)
    assert (result.code, len(result.err.splitlines())) == (1, 1)
    assert message in result.err
    assert not (tmp_path / "store" / "models").exists()
    assert [row["name"] for row in db.query("SELECT name FROM models ORDER BY name")] == ["camping", "kitchen"]


@pytest.mark.parametrize(
    ("setting", "value"),
    [("use_dora", True), ("bias", "all"), ("modules_to_save", ["lm_head"]), ("target_modules", ["embed_tokens"])],
)
def test_an_adapter_that_is_not_plain_is_refused_by_name(
    kdtui: Kdtui, two: Path, tmp_path: Path, setting: str, value: object
) -> None:
    assert two.exists()
    path = tmp_path / "camping" / "adapter" / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), setting: value}))
    result = kdtui("model", "merge", "camping", "kitchen")
    assert (result.code, len(result.err.splitlines())) == (1, 1)
    assert "embed_tokens" in result.err if setting == "target_modules" else setting in result.err


def test_a_rank_beyond_the_base_must_be_reduced(kdtui: Kdtui, db: Database, two: Path, tmp_path: Path) -> None:
    trained_adapter(db, tmp_path, "large", two, 5, r=120)
    result = kdtui("model", "merge", "large", "kitchen")
    assert "the ranks add up to 129" in result.err
    assert "reduce the sum with --rank 128 or less" in result.err
    assert kdtui("model", "merge", "large", "kitchen", "--rank", 32).code == 0


def test_a_name_of_a_training_is_taken(kdtui: Kdtui, db: Database, two: Path, tmp_path: Path) -> None:
    from store.jobs import add_job
    from store.records import TrainingSettings

    assert two.exists()
    add_job(db, "later", tmp_path, TrainingSettings(("outdoor",)), "key")
    assert "there is a training 'later' already" in kdtui("model", "merge", "camping", "--name", "later").err
