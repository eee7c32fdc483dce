"""`kdtui data import`: both formats with their quirks, and a clear message for every mistake."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kdtui.workflows.data.import_dataset import DatasetSource, import_dataset, look_at_source, what_goes_with
from kdtui.workflows.knowledge.mine_patterns import mine_patterns
from kdtui.workflows.knowledge.sample import pick_sample
from store.dataset_contents import dataset_contents
from store.datasets import list_datasets
from store.errors import NotFound
from store.records import RunSettings
from store.runs import start_run
from store.sessions import get_session, iter_sessions
from store.sqlite import Database
from tests.support.commands import Kdtui
from tests.support.waiting import PATIENCE

FILES = {
    "session_item.csv": "session ID,item ID\n7,a\n7,b\n7,c\n8,b\n8,d\n9,e\n",
    "session_bundle.csv": "session ID,bundle ID\n7,0\n7,1\n8,2\n",
    "bundle_item.csv": "bundle ID,item ID\n0,a\n0,b\n1,c\n1,a\n2,d\n2,b\n",
    "bundle_intent.csv": 'bundle ID,intent\n0,"say ""hi"",\nfriend "\n1,\n2,plain\n',
    "item_titles.csv": 'item ID,titles\na,"Tent, green"\nb,Mat\nd,Stove\n',
    "item_categories.csv": 'item ID,categories\na,"[[Out,Tents],[Out, Big]]"\nc,"[[Out]]"\n',
    "split.csv": "session ID,split\n7,train\n8,test\n",
}


@pytest.fixture
def bundlerec(tmp_path: Path) -> Path:
    folder = tmp_path / "bundlerec"
    folder.mkdir()
    for name, text in FILES.items():
        (folder / name).write_text(text)
    return folder


def line(session: str = "s", items: list[str] | None = None, **more: object) -> str:
    members = [{"id": item, "title": item.upper(), "categories": [["A", "B"]]} for item in items or ["x", "y"]]
    return json.dumps({"session": session, "items": members, **more}) + "\n"


def test_a_bundlerec_directory_is_imported_with_its_quirks(db: Database, bundlerec: Path) -> None:
    list(import_dataset(db, bundlerec, "quirks"))
    session = get_session(db, "quirks", "7")
    assert [item.id for item in session.items] == ["a", "b", "c"]
    assert [item.title for item in session.items] == ["Tent, green", "Mat", None]
    assert session.items[0].categories == (("Out", "Tents"), ("Out, Big",))
    assert session.items[1].categories == ()
    assert [(bundle.positions, bundle.intent) for bundle in session.bundles] == [
        ((1, 2), 'say "hi",\nfriend'),
        ((1, 3), ""),
    ]
    assert session.split == "train"
    assert get_session(db, "quirks", "9").split is None


def test_real_datasets_are_imported_completely(db: Database, real_dataset: Path) -> None:
    list(import_dataset(db, real_dataset, "real"))
    (summary,) = list_datasets(db)
    expected = {
        "electronic": (4943, 1145, 893, 1750, 623, 90, 180),
        "clothing": (6439, 1181, 968, 1910, 698, 90, 180),
    }[real_dataset.name]
    assert expected == (
        summary.items,
        summary.sessions,
        summary.bundled,
        summary.bundles,
        summary.train,
        summary.valid,
        summary.test,
    )


def test_an_export_is_imported_unchanged(db: Database, bundlerec: Path, tmp_path: Path, kdtui: Kdtui) -> None:
    list(import_dataset(db, bundlerec, "first"))
    assert kdtui("data", "export", "--dataset", "first", "-o", tmp_path / "out.jsonl").code == 0
    list(import_dataset(db, tmp_path / "out.jsonl", "second"))
    assert list(iter_sessions(db, "first")) == list(iter_sessions(db, "second"))
    assert kdtui("data", "export", "-d", "first").out == (tmp_path / "out.jsonl").read_text()


def test_without_a_split_sessions_are_split_7_1_2_by_seed(db: Database, tmp_path: Path) -> None:
    path = tmp_path / "sessions.jsonl"
    bundle = [{"items": ["x", "y"], "intent": "both"}]
    path.write_text("".join(line(str(number), bundles=bundle) for number in range(100)) + line("served"))
    list(import_dataset(db, path, "one", seed=1))
    list(import_dataset(db, path, "same", seed=1))
    list(import_dataset(db, path, "other", seed=2))
    splits = {name: [session.split for session in iter_sessions(db, name)] for name in ("one", "same", "other")}
    assert [splits["one"].count(split) for split in ("train", "valid", "test", None)] == [70, 10, 20, 1]
    assert splits["one"] == splits["same"] != splits["other"]
    assert splits["one"][-1] is None


def test_a_later_mention_fills_in_missing_fields_of_an_item(db: Database, tmp_path: Path) -> None:
    path = tmp_path / "sessions.jsonl"
    path.write_text(
        '{"session": "1", "items": [{"id": "x"}, {"id": "y", "title": "Y"}]}\n'
        '{"session": "2", "items": [{"id": "x", "title": "X", "categories": [["A"]]}, {"id": "y", "title": "Z"}]}\n'
    )
    written = list(import_dataset(db, path, "d"))[-1]
    assert written.differing == 1
    items = get_session(db, "d", "1").items
    assert [(item.title, item.categories) for item in items] == [("X", (("A",),)), ("Y", ())]


def test_titles_of_any_kind_are_kept_unchanged(db: Database, tmp_path: Path) -> None:
    titles = ["[red]x[/red]", "\x1b[31mred", "two\nlines", "long" * 2500, "青い包丁", "'); DROP TABLE items; --"]
    items = [{"id": str(number), "title": title} for number, title in enumerate(titles)]
    path = tmp_path / "sessions.jsonl"
    path.write_text(json.dumps({"session": "s", "items": items}))
    list(import_dataset(db, path, "d"))
    assert [item.title for item in get_session(db, "d", "s").items] == titles


BAD_LINES = {
    "not JSON": ("{oops\n", "line 2: this is not JSON"),
    "a missing column": ('{"items": []}\n', "line 2: a session is not as expected: .*`session`"),
    "a number for an id": ('{"session": 5, "items": []}\n', "line 2: .*Expected `str`, got `int`"),
    "an empty id": ('{"session": "", "items": []}\n', "line 2: .*length >= 1 - at `[$].session`"),
    "an empty category path": (
        '{"session": "t", "items": [{"id": "x", "categories": [[]]}]}\n',
        "line 2: .*length >= 1",
    ),
    "no items": ('{"session": "t", "items": []}\n', "line 2: session 't' has no items"),
    "an item twice": (line("t", ["x", "x"]), "line 2: session 't' has item 'x' twice"),
    "an unknown item in a bundle": (line("t", bundles=[{"items": ["x", "q"]}]), "line 2: a bundle has item 'q'"),
    "a bundle of one": (line("t", bundles=[{"items": ["x"]}]), "line 2: a bundle of session 't' has fewer than two"),
    "a session twice": ("\n" + line("s"), "line 3: session 's' comes twice .first in line 1"),
    "an unknown split": (line("t", split="dev"), "line 2: .*Invalid enum value 'dev'"),
}


@pytest.mark.parametrize(("text", "message"), BAD_LINES.values(), ids=BAD_LINES.keys())
def test_a_mistake_in_json_lines_is_reported(
    db: Database, tmp_path: Path, kdtui: Kdtui, text: str, message: str
) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(line("s") + text)
    refused(kdtui("data", "import", path, "--dataset", "d"), f"bad.jsonl, {message}")
    assert list_datasets(db) == []


BAD_FILES = {
    "a missing file": ("item_titles.csv", None, "item_titles.csv: No such file"),
    "a missing column": ("item_titles.csv", "item ID,name\n", "item_titles.csv, line 1: column 'titles' is missing"),
    "an empty file": ("bundle_item.csv", "", "bundle_item.csv: the file is empty; its first line must be: bundle ID"),
    "broken quoting": ("bundle_intent.csv", 'bundle ID,intent\n0,"a"b\n', "bundle_intent.csv, line 2: broken quoting"),
    "an open quote": ("bundle_intent.csv", 'bundle ID,intent\n0,"a\nb\n', "bundle_intent.csv, line 2: broken quoting"),
    "too many columns": ("item_titles.csv", "item ID,titles\na,b,c\n", "item_titles.csv, line 2: 2 columns expected"),
    "a duplicate id": ("item_titles.csv", "item ID,titles\na,b\na,c\n", "item_titles.csv, line 3: item ID 'a' comes"),
    "an intent of an unknown bundle": (
        "bundle_intent.csv",
        "bundle ID,intent\n9,x\n",
        "bundle_intent.csv, line 2: bundle '9' is not in session_bundle.csv",
    ),
    "an unknown session": ("split.csv", "session ID,split\n55,train\n", "split.csv, line 2: session '55' is not in"),
    "an unknown split": ("split.csv", "session ID,split\n7,dev\n", "split.csv, line 2: split 'dev' is none of"),
    "a bundle outside its session": (
        "bundle_item.csv",
        "bundle ID,item ID\n0,a\n0,d\n",
        "bundle_item.csv, line 3: bundle '0' has item 'd', which is not in its session '7'",
    ),
    "a session with an unknown item": (
        "session_item.csv",
        "session ID,item ID\n7,a\n7,b\n7,c\n7,zz\n8,b\n8,d\n",
        "session_item.csv, line 5: session '7' has item 'zz', which no other file describes",
    ),
    "an item twice in a session": (
        "session_item.csv",
        "session ID,item ID\n7,a\n7,a\n",
        "session_item.csv, line 3: session '7' has item 'a' twice",
    ),
    "an item twice in a bundle": (
        "bundle_item.csv",
        "bundle ID,item ID\n0,a\n0,a\n",
        "bundle_item.csv, line 3: bundle '0' has item 'a' twice",
    ),
    "an empty id": ("item_titles.csv", "item ID,titles\n,b\n", "item_titles.csv, line 2: item ID is empty"),
    "categories without brackets": (
        "item_categories.csv",
        "item ID,categories\na,Out\n",
        "item_categories.csv, line 2",
    ),
    "no session": ("session_item.csv", "session ID,item ID\n", "session_item.csv: the file is empty"),
}


@pytest.mark.parametrize(("name", "text", "message"), BAD_FILES.values(), ids=BAD_FILES.keys())
def test_a_mistake_in_a_bundlerec_directory_is_reported(
    db: Database, bundlerec: Path, kdtui: Kdtui, name: str, text: str | None, message: str
) -> None:
    if text is None:
        (bundlerec / name).unlink()
    else:
        (bundlerec / name).write_text(text)
    refused(kdtui("data", "import", bundlerec, "--dataset", "d"), message)
    assert list_datasets(db) == []


def test_text_that_is_not_utf8_is_refused_with_its_line(bundlerec: Path, kdtui: Kdtui) -> None:
    (bundlerec / "item_titles.csv").write_bytes(b"item ID,titles\na,ok\nb,caf\xe9\n")
    refused(kdtui("data", "import", bundlerec, "-d", "d"), "item_titles.csv, line 3: this is not UTF-8")
    path = bundlerec / "bad.jsonl"
    path.write_bytes(line("s").encode() + b'{"session": "caf\xe9", "items": []}\n')
    refused(kdtui("data", "import", path, "-d", "d"), "bad.jsonl, line 2: this is not UTF-8")


def test_a_path_that_is_not_a_dataset_is_refused(tmp_path: Path, kdtui: Kdtui) -> None:
    refused(kdtui("data", "import", tmp_path / "none", "-d", "d"), "No such file or directory; give a BundleRec")
    (tmp_path / "folder").mkdir()
    refused(kdtui("data", "import", tmp_path / "folder", "-d", "d"), "this is not a dataset")
    (tmp_path / "empty.jsonl").touch()
    refused(kdtui("data", "import", tmp_path / "empty.jsonl", "-d", "d"), "the file is empty")


def test_a_taken_name_is_refused_without_replace(db: Database, outdoor: Path, bundlerec: Path, kdtui: Kdtui) -> None:
    assert kdtui("data", "import", outdoor, "-d", "d").code == 0
    refused(kdtui("data", "import", bundlerec, "-d", "d"), "dataset 'd' exists already")
    assert kdtui("data", "import", bundlerec, "-d", "d", "--replace").code == 0
    assert list_datasets(db)[0].sessions == 3


def test_a_failed_replacement_keeps_the_old_dataset(db: Database, outdoor: Path, bundlerec: Path, kdtui: Kdtui) -> None:
    kdtui("data", "import", outdoor, "-d", "d")
    path = bundlerec / "bad.jsonl"
    path.write_text(line("s") + line("s"))
    refused(kdtui("data", "import", path, "-d", "d", "--replace"), "comes twice")
    assert list_datasets(db)[0].sessions == 36


def test_a_failed_import_stores_nothing(db: Database, tmp_path: Path) -> None:
    path = tmp_path / "many.jsonl"
    path.write_text("".join(line(str(number)) for number in range(12_000)))
    events = import_dataset(db, path, "d")
    assert next(events).sessions > 0
    events.close()  # type: ignore[attr-defined]
    assert list_datasets(db) == []
    assert db.execute("SELECT count(*) FROM items").fetchone() == (0,)


def test_sessions_that_share_items_are_found(db: Database, tmp_path: Path) -> None:
    path = tmp_path / "many.jsonl"
    path.write_text("".join(line(str(number), ["x", f"i{number % 7}"]) for number in range(12_000)))
    written = list(import_dataset(db, path, "d"))[-1]
    assert (written.sessions, written.items, written.session_items) == (12_000, 8, 24_000)
    assert sum(1 for _ in iter_sessions(db, "d")) == 12_000
    assert [session.id for session in iter_sessions(db, "d", limit=5001)][-1] == "5000"


def test_a_directory_with_byte_order_marks_and_other_line_ends_is_imported(
    db: Database, bundlerec: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "windows"
    shutil.copytree(bundlerec, folder)
    for name in FILES:
        text = (bundlerec / name).read_text()
        (folder / name).write_bytes(("\ufeff" + text).replace("\n", "\r\n").encode())
    list(import_dataset(db, folder, "windows"))
    assert [item.title for item in get_session(db, "windows", "8").items] == ["Mat", "Stove"]


def test_odd_but_valid_csv_is_imported(db: Database, bundlerec: Path) -> None:
    long = "x" * 200_000
    text = f'item ID,titles\n\na,Tent\u2028two\x0bthree\nb,{long}\nd,"two\nlines"\n\n'
    (bundlerec / "item_titles.csv").write_text(text)
    list(import_dataset(db, bundlerec, "odd"))
    assert [item.title for item in get_session(db, "odd", "7").items] == ["Tent\u2028two\x0bthree", long, None]
    assert get_session(db, "odd", "8").items[1].title == "two\nlines"


def test_json_lines_can_begin_with_a_byte_order_mark(db: Database, tmp_path: Path) -> None:
    path = tmp_path / "marked.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + line("s").encode())
    assert list(import_dataset(db, path, "d"))[-1].sessions == 1


def test_a_dataset_needs_a_name(outdoor: Path, kdtui: Kdtui) -> None:
    assert kdtui("data", "import", outdoor, "--dataset", " ").code == 2


def test_an_interrupted_command_stores_nothing(db: Database, database_of_the_test: Path, tmp_path: Path) -> None:
    # A pipe that stays open stops the import in the middle.
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    process = subprocess.Popen(
        [sys.executable, "-m", "kdtui", "data", "import", str(pipe), "-d", "d", "--db", str(database_of_the_test)],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with pipe.open("w") as sessions:
        for number in range(12_000):
            sessions.write(line(str(number)))
        sessions.flush()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    shows = f"kdtui data ls --db {database_of_the_test}"
    assert err == f"interrupted; {shows} shows whether the import was completed\n"
    assert list_datasets(db) == []


def test_a_pipe_is_imported_like_a_file(db: Database, tmp_path: Path, kdtui: Kdtui) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for text, code in ((line("1") + line("2"), 0), (line("3") + line("3"), 1), ("", 1)):
        with subprocess.Popen(["sh", "-c", 'printf %s "$1" > "$2"', "sh", text, str(pipe)]):
            assert kdtui("data", "import", pipe, "-d", "d", "--replace").code == code
    assert list_datasets(db)[0].sessions == 2


def refused(result: Any, message: str) -> None:
    """Check for exit code 1 and one sentence that contains the message, a regular expression."""
    assert result.code == 1
    assert result.out == ""
    assert len(result.err.splitlines()) == 1, result.err
    assert result.err.startswith("kdtui: ")
    assert re.search(message, result.err), result.err


def test_the_format_of_a_path_is_recognized_before_the_import(bundlerec: Path, tmp_path: Path) -> None:
    assert look_at_source(bundlerec) == DatasetSource("BundleRec directory", True)
    (bundlerec / "split.csv").unlink()
    assert look_at_source(bundlerec) == DatasetSource("BundleRec directory", False)
    path = tmp_path / "own.jsonl"
    for text, has_splits in ((line(split="train"), True), (line(), False), ("\n" * 3, None)):
        path.write_text(text + "no JSON")
        assert look_at_source(path) == DatasetSource("JSON Lines", has_splits)
    # Only reading the whole line would show what it is.
    path.write_text(line(items=["x" * 2_000_000, "y"]))
    assert look_at_source(path) == DatasetSource("JSON Lines", None)


def test_contents_of_a_dataset_are_counted(db: Database, outdoor: Path) -> None:
    list(import_dataset(db, outdoor, "outdoor"))
    list(import_dataset(db, outdoor, "other"))
    assert what_goes_with(dataset_contents(db, "outdoor")) == "36 sessions"
    count = mine_patterns(db, "outdoor").kept
    pick_sample(db, "some", [1, 2])
    start_run(db, "outdoor", "test", "patterns", RunSettings("patterns"))
    found = dataset_contents(db, "outdoor")
    assert (found.sessions, found.knowledge, found.samples, found.runs) == (36, count, 1, 1)
    counts = f"36 sessions, {count} pieces of knowledge, 1 run; 1 sample loses pieces"
    assert what_goes_with(found) == counts
    assert what_goes_with(dataset_contents(db, "other")) == "36 sessions"
    with pytest.raises(NotFound, match="there is no dataset 'gone'"):
        dataset_contents(db, "gone")
