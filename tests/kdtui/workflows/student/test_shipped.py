"""The shipped student: the embedded one with an adapter, used if no other is named."""

import json
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
from gguf import GGUFReader

from kdtui.workflows.data.import_dataset import import_dataset
from models.adapters.conversion import MANIFEST_KEY, convert
from models.adapters.peft_settings import MANIFEST
from models.embedded import SHIPPED_FOLDER, shipped_adapter
from store.dataset_writer import write_dataset
from store.sessions import iter_sessions
from store.sqlite import Database
from tests.support.commands import Kdtui
from tests.support.tiny import make_model

TITLES = ["--title", "Two-person tent", "--title", "Tent pegs", "--title", "Phone case"]


@pytest.fixture
def imported(db: Database, outdoor: Path) -> None:
    list(import_dataset(db, outdoor, "outdoor"))


@pytest.mark.usefixtures("imported")
def test_it_answers_if_no_student_is_named(kdtui: Kdtui) -> None:
    usual = kdtui("generate", "o05", "--json")
    assert usual.code == 0, usual.err
    assert usual.rows == kdtui("generate", "o05", "--student", "shipped", "--json").rows
    assert usual.rows[0]["bundles"]
    assert all(bundle["intent"] for bundle in usual.rows[0]["bundles"])


@pytest.mark.usefixtures("imported")
def test_a_session_of_too_many_products_does_not_block_others(kdtui: Kdtui, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kdtui.distill.pattern_student.MOST_PRODUCTS", 4)
    # Of six and of three products.
    result = kdtui("generate", "o01", "o05", "--json")
    assert result.code == 1
    assert [row["session"] for row in result.rows] == ["o05"]
    assert "session 'o01' has 6 products, and the pattern student takes at most 4" in result.err


@pytest.mark.usefixtures("imported")
@pytest.mark.slow
def test_without_its_adapter_it_is_the_embedded_student(kdtui: Kdtui) -> None:
    bare = kdtui("generate", "o05", "--adapter", "none", "--json").rows
    assert bare == kdtui("generate", "o05", "--student", "smollm2", "--json").rows
    assert bare != kdtui("generate", "o05", "--json").rows


@pytest.mark.usefixtures("imported")
@pytest.mark.slow
def test_a_later_answer_imports_nothing_that_it_does_not_use(kdtui: Kdtui) -> None:
    # The first answer makes the fast student, and learns from the dataset.
    assert kdtui("generate", "o05").code == 0
    unused = (
        *("scipy", "sklearn", "torch", "transformers", "peft", "openai", "gguf", "textual"),
        *("asyncio", "urllib.request", "multiprocessing", "models.endpoint.chat_server", "models.llama.quantization"),
    )
    code = (
        "import sys; from kdtui.__main__ import main\n"
        "sys.argv = ['kdtui', 'generate', 'o05', '--json']\n"
        "try: main()\nexcept SystemExit: pass\n"
        f"print([name for name in {unused!r} if name in sys.modules], file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert json.loads(result.stdout)["bundles"]
    assert result.stderr == "[]\n"


def test_it_needs_no_dataset(kdtui: Kdtui) -> None:
    result = kdtui("generate", *TITLES, "--json")
    assert result.code == 0, result.err
    assert result.rows[0]["session"] == "titles"


def test_without_a_dataset_titles_are_bundled_and_named(kdtui: Kdtui) -> None:
    [row] = kdtui("generate", *TITLES, "--title", "Screen protector", "--json").rows
    assert sorted(bundle["positions"] for bundle in row["bundles"]) == [[1, 2], [3, 4]]
    assert all(bundle["intent"] for bundle in row["bundles"])


@pytest.mark.usefixtures("imported")
def test_with_a_dataset_titles_alone_are_bundled(kdtui: Kdtui) -> None:
    [row] = kdtui("generate", "--dataset", "outdoor", *TITLES, "--json").rows
    assert [bundle["positions"] for bundle in row["bundles"]] == [[1, 2]]


@pytest.mark.usefixtures("imported")
@pytest.mark.slow
def test_evidence_of_other_sessions_is_shown_if_there_is_any(kdtui: Kdtui, db: Database) -> None:
    output = kdtui("generate", "o05", "--json").rows
    db.execute("UPDATE sessions SET split = NULL WHERE split = 'train'")
    db.conn.commit()
    result = kdtui("generate", "o05", "--json")
    assert result.code == 0, result.err
    assert result.rows != output


@pytest.mark.usefixtures("imported")
@pytest.mark.slow
def test_its_adapter_fits_any_quantization_of_only_its_base(kdtui: Kdtui, tmp_path: Path) -> None:
    assert kdtui("model", "quantize", "smollm2", "--to", "Q4_0").code == 0
    result = kdtui("generate", "o05", "--student", "smollm2-q4_0", "--adapter", "shipped", "--json")
    assert result.code == 0, result.err
    result = kdtui("generate", "o05", "--student", make_model(tmp_path / "tiny.gguf"), "--adapter", "shipped")
    assert result.code == 1
    assert "shipped.gguf: " in result.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["generate", *TITLES, "--strategy", "list"], "for other strategies use --student smollm2"),
        (["model", "quantize", "shipped"], "shipped is smollm2 with an adapter"),
        (["generate", *TITLES, "--adapter", "none", "--adapter", "none"], "there is no adapter 'none'"),
    ],
)
def test_an_impossible_use_of_it_is_one_sentence(kdtui: Kdtui, arguments: list[str], message: str) -> None:
    result = kdtui(*arguments)
    assert (result.code, len(result.err.splitlines())) == (1, 1)
    assert message in result.err


def test_it_is_listed_with_the_models(kdtui: Kdtui) -> None:
    [row] = [row for row in kdtui("model", "ls", "--json").rows if row["name"] == "shipped"]
    assert (row["kind"], row["path"]) == ("adapter", str(shipped_adapter()))


def test_a_missing_adapter_says_what_to_do(kdtui: Kdtui, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("models.embedded.SHIPPED_FOLDER", tmp_path)
    result = kdtui("generate", *TITLES)
    assert (
        result.code,
        "the shipped adapter is missing; install kdtui again, or use --adapter none" in result.err,
    ) == (
        1,
        True,
    )


def test_its_two_files_are_the_same_adapter(tmp_path: Path) -> None:
    convert(SHIPPED_FOLDER, SHIPPED_FOLDER, tmp_path / "again.gguf")
    again, shipped = (GGUFReader(path) for path in (tmp_path / "again.gguf", shipped_adapter()))
    assert [each.name for each in again.tensors] == [each.name for each in shipped.tensors]
    for one, other in zip(again.tensors, shipped.tensors, strict=True):
        assert one.data.tobytes() == other.data.tobytes()
    assert again.fields[MANIFEST_KEY].contents() == shipped.fields[MANIFEST_KEY].contents()


def test_its_manifest_says_what_it_was_made_from() -> None:
    manifest = json.loads((SHIPPED_FOLDER / MANIFEST).read_text())
    assert manifest["datasets"] == ["electronic", "clothing"]
    assert "/" not in manifest["base"]
    assert manifest["norms_sha256"] is not None


@pytest.mark.slow
def test_it_finds_bundles_of_real_sessions(kdtui: Kdtui, db: Database, real_dataset: Path) -> None:
    list(import_dataset(db, real_dataset, "all"))
    # The titles of all sessions take minutes to embed.
    sessions = Random(0).sample(list(iter_sessions(db, "all")), 80)
    list(write_dataset(db, "real", "a draw", sessions))
    rows = kdtui("evaluate", "--dataset", "real", "--split", "valid", "--limit", 8, "--json").rows
    found = {row["name"]: row for row in rows}
    assert found["shipped"]["valid"] == 1
    assert found["shipped"]["pair_f1"] > found["category 4"]["pair_f1"]
