"""Knowledge files: export, import, and loading by other programs."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from kdtui.distill.thoughts import Thought
from kdtui.errors import BadFile
from kdtui.exchange import knowledge_files
from kdtui.exchange.knowledge_files import KnowledgeLine, encode_knowledge, read_knowledge
from kdtui.exchange.lines import LONGEST_LINE
from kdtui.workflows.data.import_dataset import import_dataset
from kdtui.workflows.knowledge.distill import distill_annotations
from kdtui.workflows.knowledge.exchange import import_knowledge
from kdtui.workflows.knowledge.mine_patterns import mine_patterns
from store.knowledge import Knowledge, NewKnowledge, add_knowledge, find_knowledge, parents_of, sessions_of_piece
from store.records import STATUSES
from store.sqlite import Database
from tests.support.commands import Kdtui


@pytest.fixture
def known(db: Database, outdoor: Path) -> Database:
    for name in ("outdoor", "other"):
        list(import_dataset(db, outdoor, name))
    mine_patterns(db, "outdoor")
    list(distill_annotations(db, "outdoor", ["rule", "thought"]))
    pattern, rule = (find_knowledge(db, dataset="outdoor", format=format)[0] for format in ("pattern", "rule"))
    add_knowledge(
        db,
        "outdoor",
        "rule",
        "someone",
        [NewKnowledge("Look twice | or | thrice", rule.content, sessions=("o01",), parents=(pattern.id,))],
    )
    return db


def everything(db: Database, dataset: str) -> set[tuple[object, ...]]:
    return {
        (
            piece.format,
            piece.statement,
            piece.content,
            piece.teacher,
            piece.reason,
            piece.precision,
            tuple(sessions_of_piece(db, piece.id)),
            tuple(parent.statement for parent in parents_of(db, piece.id)),
        )
        for status in STATUSES
        for piece in find_knowledge(db, dataset=dataset, status=status)
    }


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_an_export_can_be_imported_again(known: Database, kdtui: Kdtui, tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "out"
    result = kdtui("knowledge", "export", "-d", "outdoor", "--output", folder, "--as", kind)
    assert result.code == 0, result.err
    assert kdtui("knowledge", "import", folder, "-d", "other").code == 0
    assert everything(known, "other") == everything(known, "outdoor")
    # Importing again changes nothing.
    assert kdtui("knowledge", "import", folder, "-d", "other").code == 0
    assert everything(known, "other") == everything(known, "outdoor")


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
@pytest.mark.usefixtures("known")
def test_a_folder_is_a_dataset_for_other_programs(
    kdtui: Kdtui, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import datasets

    assert (
        kdtui("knowledge", "export", "-d", "outdoor", "-o", tmp_path / "out", "--as", kind, "--licence", "mit").code
        == 0
    )
    loaded = datasets.load_dataset(str(tmp_path / "out"), split="train", cache_dir=str(tmp_path / "cache"))
    rows = kdtui("knowledge", "ls", "-d", "outdoor", "--json", "-n", 5000).rows
    kept = [row for row in loaded if row["status"] == "kept"]
    assert {row["statement"] for row in kept} == {row["statement"] for row in rows}
    assert json.loads(kept[0]["content"])
    card = (tmp_path / "out" / "README.md").read_text()
    assert card.startswith("---\nlicense: mit\n")
    assert "| pattern | annotations | kept |" in card


def test_a_sample_or_a_format_can_be_exported(known: Database, kdtui: Kdtui, tmp_path: Path) -> None:
    assert kdtui("sample", "create", "few", "-d", "outdoor", "-f", "thought", "--ratio", 0.2).code == 0
    export = ["knowledge", "export", "-d", "outdoor", "-o", tmp_path / "few", "--sample", "few"]
    assert kdtui(*export).code == 0
    lines = read_knowledge(tmp_path / "few")
    assert {line.format for line in lines} == {"thought"}
    assert len(lines) == len(find_knowledge(known, sample="few"))
    nothing = kdtui(*export, "--format", "rule")
    assert nothing.code == 1
    assert "there is no such knowledge" in nothing.err


@pytest.mark.usefixtures("known")
def test_existing_files_are_not_overwritten_by_default(kdtui: Kdtui, tmp_path: Path) -> None:
    card = tmp_path / "README.md"
    card.write_text("of a project")
    export = ["knowledge", "export", "-d", "outdoor", "-o", tmp_path]
    refused = kdtui(*export)
    assert (refused.code, card.read_text()) == (1, "of a project")
    assert "README.md: it exists already; choose another folder, or replace it with --replace" in refused.err
    card.unlink()
    assert kdtui(*export).code == 0
    assert kdtui(*export, "--as", "parquet").code == 1
    assert kdtui(*export, "--as", "parquet", "--replace").code == 0
    assert {path.name for path in tmp_path.iterdir()} >= {"README.md", "knowledge.parquet"}
    assert not (tmp_path / "knowledge.jsonl").exists(), "it would be read instead"


@pytest.fixture
def foreign(known: Database, tmp_path: Path, kdtui: Kdtui) -> Path:
    """Exported knowledge of the outdoor products, and a dataset `kitchen` whose sessions have the same ids."""
    lines = (files("kdtui") / "demo_data" / "kitchen.jsonl").read_text(encoding="utf-8").splitlines()
    same_ids = tmp_path / "kitchen.jsonl"
    same_ids.write_text(
        "\n".join(json.dumps(json.loads(line) | {"session": f"o{n:02}"}) for n, line in enumerate(lines, start=1))
    )
    list(import_dataset(known, same_ids, "kitchen"))
    assert kdtui("knowledge", "export", "-d", "outdoor", "-o", tmp_path / "out").code == 0
    return tmp_path / "out"


def pieces_of_kitchen(db: Database) -> list[Knowledge]:
    return [piece for status in STATUSES for piece in find_knowledge(db, dataset="kitchen", status=status)]


def test_importing_from_another_dataset_says_how_much_is_foreign(known: Database, foreign: Path, kdtui: Kdtui) -> None:
    lines = read_knowledge(foreign)
    with_sessions = sum(bool(line.sessions) for line in lines)
    result = kdtui("knowledge", "import", foreign, "-d", "kitchen")
    assert result.code == 0
    assert f"from outdoor into dataset kitchen: {len(lines)} new" in result.err
    assert f"{with_sessions} pieces come from training sessions that are not in dataset kitchen" in result.err
    assert "are about categories that no product of dataset kitchen has" in result.err
    # The sessions have the same ids, but other products.
    assert not any(sessions_of_piece(known, piece.id) for piece in pieces_of_kitchen(known))


def test_imported_pieces_keep_their_origin_when_exported_again(
    known: Database, foreign: Path, tmp_path: Path, kdtui: Kdtui
) -> None:
    kdtui("knowledge", "import", foreign, "-d", "kitchen")
    piece = find_knowledge(known, dataset="kitchen", format="rule")[0]
    [shown] = kdtui("knowledge", "show", piece.id, "--json").rows
    assert shown["own"] is False
    assert (shown["origin"]["dataset"], shown["origin"]["file"]) == ("outdoor", str(foreign))
    assert shown["origin"]["imported_at"].startswith("20")
    words = " ".join(kdtui("knowledge", "show", piece.id).out.split())
    assert "imported from dataset outdoor" in words
    assert "not found in this store: its measures are the imported ones" in words
    listed = kdtui("knowledge", "search", "origin:outdoor", "--all", "--json", "-n", 9999).rows
    assert {row["id"] for row in listed} == {each.id for each in pieces_of_kitchen(known)}
    assert all(row["origin"]["dataset"] == "outdoor" for row in listed)
    assert "(from outdoor)" in kdtui("knowledge", "ls", "-d", "kitchen", "-f", "pattern").out
    assert kdtui("knowledge", "search", "origin:kitchen", "--json").rows == []
    again = tmp_path / "again"
    assert kdtui("knowledge", "export", "-d", "kitchen", "-o", again).code == 0
    assert {(line.dataset, line.imported_from, line.imported_file) for line in read_knowledge(again)} == {
        ("kitchen", "outdoor", "out")
    }
    count = len(read_knowledge(again))
    assert f"{count} of the pieces had been imported from `outdoor`" in (again / "README.md").read_text()
    kdtui("knowledge", "import", again, "-d", "other")
    assert {piece.origin.dataset for piece in find_knowledge(known, dataset="other") if piece.origin} == {"outdoor"}


def test_mining_and_distilling_keep_imported_pieces(known: Database, foreign: Path, kdtui: Kdtui) -> None:
    kdtui("knowledge", "import", foreign, "-d", "kitchen")
    before = pieces_of_kitchen(known)
    for command in (["mine"], ["distill"]):
        result = kdtui("knowledge", *command, "-d", "kitchen", "--replace")
        assert result.code == 0, result.err
        assert "deleted" not in result.err
    own = {piece.id: piece for piece in pieces_of_kitchen(known)}
    assert len(own) > len(before)
    assert [own[piece.id] for piece in before] == before


def test_an_import_does_not_change_the_datasets_own_pieces(known: Database, foreign: Path, kdtui: Kdtui) -> None:
    before = everything(known, "outdoor")
    result = kdtui("knowledge", "import", foreign, "-d", "outdoor")
    assert f"0 new, {len(before)} that existed already and stay as they are" in result.err
    assert everything(known, "outdoor") == before
    assert kdtui("knowledge", "search", "origin:outdoor", "--json").rows == []


def test_an_imported_piece_that_is_found_again_gets_its_own_measures(
    known: Database, foreign: Path, kdtui: Kdtui
) -> None:
    kdtui("knowledge", "import", foreign, "-d", "other")
    kdtui("knowledge", "mine", "-d", "other", "--level", 2)
    found = [piece for piece in find_knowledge(known, dataset="other", format="pattern") if piece.own]
    assert found
    assert all(piece.origin is not None for piece in found)
    assert "also found in this store" in " ".join(kdtui("knowledge", "show", found[0].id).out.split())
    # It was imported first, and stays whatever is found later.
    result = kdtui("knowledge", "mine", "-d", "other", "--level", 4, "--replace")
    assert "deleted" not in result.err
    assert set(found) <= set(find_knowledge(known, dataset="other", format="pattern"))


def test_a_file_without_a_dataset_is_an_origin(known: Database, tmp_path: Path, kdtui: Kdtui) -> None:
    path = tmp_path / "one.jsonl"
    path.write_text(json.dumps(GOOD))
    assert kdtui("knowledge", "import", path, "-d", "other").err == (
        "imported 1 piece of knowledge into dataset other: 1 new\n"
    )
    [piece] = find_knowledge(known, dataset="other")
    assert piece.origin is not None
    assert (piece.origin.dataset, piece.origin.file) == (None, str(path))
    assert "imported from a file that names no dataset" in " ".join(kdtui("knowledge", "show", piece.id).out.split())


LINES = st.lists(
    st.builds(
        KnowledgeLine,
        id=st.integers(0, 99),
        format=st.just("thought"),
        statement=st.text(min_size=1).filter(str.strip),
        content=st.just('{"products": ["a"], "steps": []}'),
        teacher=st.text(min_size=1),
        sessions=st.lists(st.text(), max_size=3).map(tuple),
        support=st.none() | st.floats(0, 1),
    ),
    min_size=1,
    max_size=5,
)


@settings(max_examples=50)
@given(lines=LINES)
@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_any_text_survives(tmp_path_factory: pytest.TempPathFactory, lines: list[KnowledgeLine], kind: Any) -> None:
    path = tmp_path_factory.mktemp("any") / f"knowledge.{kind}"
    path.write_bytes(b"".join(encode_knowledge(lines, kind)))

    def run_here(work: Callable[..., object], *arguments: object, **_: object) -> None:
        work(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        # Other tests check sizes in a process of its own, which would take most of the time of this one.
        patch.setattr(knowledge_files, "run_in_process", run_here)
        assert read_knowledge(path) == lines


GOOD = {"id": 1, "format": "thought", "statement": "s", "content": '{"products": [], "steps": []}', "teacher": "t"}


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "line 2: this is not JSON"),
        (json.dumps({**GOOD, "format": "idea"}), "line 2: a piece of knowledge is not as expected"),
        (json.dumps({**GOOD, "content": "[]"}), "line 2: a piece of knowledge is not as expected"),
        (json.dumps({**GOOD, "content": "{"}), "line 2: the content of a piece is not JSON"),
        (json.dumps({**GOOD, "statement": " "}), "line 2: a piece needs a statement"),
        (json.dumps({**GOOD, "status": "rejected"}), "line 2: a piece needs a statement"),
        ("[1]", "line 2: a piece of knowledge is not as expected"),
        pytest.param("[" * 100_000, "line 2: this is JSON within JSON, deeper than any piece is", id="deep"),
        pytest.param(
            json.dumps({**GOOD, "content": '{"x": ' + "[" * 100_000}),
            "line 2: the content of a piece is JSON within JSON",
            id="deep content",
        ),
    ],
)
def test_one_bad_line_prevents_the_import(
    known: Database, kdtui: Kdtui, tmp_path: Path, line: str, problem: str
) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(json.dumps(GOOD) + "\n" + line + "\n")
    result = kdtui("knowledge", "import", path, "-d", "other")
    assert (result.code, result.out) == (1, "")
    assert f"bad.jsonl, {problem}" in result.err
    assert find_knowledge(known, dataset="other") == []


@pytest.mark.usefixtures("known")
def test_a_path_without_knowledge_is_reported(kdtui: Kdtui, tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"nothing")
    for path, problem in (
        (tmp_path / "missing.jsonl", "No such file"),
        (tmp_path, "there is no knowledge.jsonl or knowledge.parquet in this folder"),
        (tmp_path / "x.parquet", "this is not a readable Parquet file"),
    ):
        result = kdtui("knowledge", "import", path, "-d", "other")
        assert result.code == 1
        assert problem in result.err


def test_a_line_without_end_is_not_read_into_memory(tmp_path: Path) -> None:
    path = tmp_path / "endless.jsonl"
    path.touch()
    os.truncate(path, LONGEST_LINE + 1)
    with pytest.raises(BadFile, match="line 1: this line is longer than 64 MB; each line must hold one piece"):
        read_knowledge(path)


def write_parquet(path: Path, **columns: Any) -> Path:
    table = pyarrow.table({name: pyarrow.array([value]) for name, value in GOOD.items()} | columns)
    parquet.write_table(table, path)
    return path


def test_a_text_in_parquet_that_is_not_utf_8_is_reported(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "bad.parquet", statement=pyarrow.array([b"\xff"]).view(pyarrow.string()))
    with pytest.raises(BadFile, match=r"bad.parquet: this is not a readable Parquet file \('utf-8' codec"):
        read_knowledge(path)


def repeated(count: int, **columns: Any) -> pyarrow.Table:
    """Return rows that are all alike, which Parquet stores in next to no space."""
    values = {name: pyarrow.array([value] * count) for name, value in GOOD.items()}
    return pyarrow.table(values | columns)


def one_text(count: int, length: int) -> pyarrow.Array:
    return pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * count), ["x" * length])


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the peak of a process")
@pytest.mark.parametrize(
    ("table", "stores_schema"),
    [
        (lambda: repeated(20_000, statement=one_text(20_000, 10_000)), True),
        (lambda: repeated(256, statement=one_text(256, 1_000_000)), True),
        (lambda: repeated(256, statement=one_text(256, 1_000_000)), False),
        (lambda: repeated(1, sessions=pyarrow.ListArray.from_arrays([0, 256], one_text(256, 1_000_000))), True),
        (lambda: repeated(1, parents=pyarrow.array([[7] * 20_000_000])), True),
        (lambda: repeated(100, statement=pyarrow.array([bytes(1_000_000)] * 100, pyarrow.binary(1_000_000))), True),
        (lambda: repeated(1, statement=pyarrow.array(["x" * 200_000_000])), True),
    ],
    ids=["many rows", "large rows", "plain texts", "a list of texts", "a list of numbers", "fixed lengths", "one text"],
)
def test_a_small_parquet_file_does_not_fill_the_memory(
    tmp_path: Path, table: Callable[[], pyarrow.Table], stores_schema: bool
) -> None:
    path = tmp_path / "bomb.parquet"
    parquet.write_table(table(), path, compression="zstd", store_schema=stores_schema)
    assert path.stat().st_size < 200_000
    # A process of its own has a peak of its own, and Arrow's memory counts.
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "import pyarrow.compute, pyarrow.parquet\n"
        "from kdtui.errors import BadFile\n"
        "from kdtui.exchange.knowledge_files import read_knowledge\n"
        "def peak():\n"
        "    return int(Path('/proc/self/status').read_text().partition('VmHWM:')[2].split()[0]) * 1024\n"
        "before = peak()\n"
        "try:\n"
        "    read_knowledge(Path(sys.argv[1]))\n"
        "except BadFile as error:\n"
        "    print(error)\n"
        "print(peak() - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    message, grown = done.stdout.splitlines()
    # Python and Arrow take some memory beside the values.
    assert int(grown) < 1.5 * LONGEST_LINE + 100 * path.stat().st_size
    assert re.search(r"bomb.parquet.*: its rows have more than .* MB; it repeats them$", message)


@pytest.mark.parametrize("stores_schema", [True, False])
def test_a_parquet_file_of_several_groups_and_batches_is_read_in_order(tmp_path: Path, stores_schema: bool) -> None:
    path = tmp_path / "large.parquet"
    count = 3000
    texts = pyarrow.array([f"statement {number}" for number in range(count)])
    sessions = pyarrow.array([["s1", "s2"][: number % 3] for number in range(count)])
    table = repeated(count, statement=texts, sessions=sessions)
    parquet.write_table(table, path, row_group_size=1700, store_schema=stores_schema)
    lines = read_knowledge(path)
    assert [line.statement for line in lines] == [f"statement {number}" for number in range(count)]
    assert [len(line.sessions) for line in lines] == [number % 3 for number in range(count)]


def test_a_thought_of_a_file_can_be_used(known: Database, tmp_path: Path) -> None:
    path = tmp_path / "one.jsonl"
    path.write_text(json.dumps({**GOOD, "sessions": ["o01", "nowhere"], "parents": [77]}))
    assert import_knowledge(known, "other", path).new == 1
    [piece] = find_knowledge(known, dataset="other")
    assert sessions_of_piece(known, piece.id) == ["o01"]
    assert json.loads(piece.content) == {"products": [], "steps": []}
    assert Thought((), ()).statement == "Products: ."


def test_pieces_from_held_out_sessions_are_rejected_and_counted(known: Database, tmp_path: Path, kdtui: Kdtui) -> None:
    assert kdtui("knowledge", "export", "-d", "outdoor", "--output", tmp_path / "x").code == 0
    known.execute(
        "UPDATE sessions SET split = 'test' WHERE session = 'o01' AND dataset_id = "
        "(SELECT id FROM datasets WHERE name = 'other')"
    )
    known.conn.commit()
    result = kdtui("knowledge", "import", tmp_path / "x", "--dataset", "other")
    rejected = [
        piece
        for piece in find_knowledge(known, dataset="other", status="rejected")
        if piece.reason == "it comes from validation or test sessions"
    ]
    assert rejected
    assert all("o01" in sessions_of_piece(known, piece.id) for piece in rejected)
    assert not any("o01" in sessions_of_piece(known, piece.id) for piece in find_knowledge(known, dataset="other"))
    assert re.search(r"rejected, .*: \d+ pieces come from validation or test sessions of dataset other", result.err)
