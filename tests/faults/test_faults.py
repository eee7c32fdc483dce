"""Commands that are killed, or that a call to the file system fails, lose nothing and finish when they are run again.

The seeds are new each day, and a failure names its seed. `python -m tests.faults.soak --trial kills --command NAME
--seed N` repeats it, and `make soak` runs thousands of such trials.
"""

import errno
import http.client
import json
import random
import signal
import sqlite3
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdtui.workflows.data.import_dataset import import_dataset
from kdtui.workflows.runs.evaluate import evaluate_split, split_to_score
from store.database import open_database
from store.records import RunSettings
from tests.faults.commands import COMMANDS, DisturbedCommand
from tests.faults.contents import contents, damage, differences, lost, questions_answered
from tests.faults.failing_calls import CAN_FAIL, ERRORS, STOP, FailingCall, build_shim
from tests.faults.forks import Forks
from tests.faults.moody_server import PATIENCE, MoodyServer
from tests.faults.mutations import mutated
from tests.faults.reader import CORPUS, REFUSALS, Reader
from tests.faults.readers import readers
from tests.faults.trials import (
    Bench,
    Trial,
    copy_trial,
    kill_trial,
    look_at_copy,
    order_of_failures,
    paid_for,
    paid_twice,
    server_trial,
    write_trial,
)
from tests.support.fake_chat_server import Serve
from tests.support.remembered_vectors import save_known
from tests.support.seeds import seed_of_today
from tests.support.stores import OUTDOOR
from tests.support.waiting import until

SEED = seed_of_today()

QUICK = [command for command in COMMANDS if command.program == "kdtui"]
"""A training takes a minute to import and to run; its faults have a file of their own, and `make soak`."""


READERS = readers()

COPIED = ("import", "distill", "upgrade the database")
"""Commands whose database is copied here. `make soak` does it with all that write one."""

needs_shim = pytest.mark.skipif(not CAN_FAIL, reason="calls can be made to fail only on Linux, with a C compiler")


@pytest.fixture(scope="module")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    """The process that runs all commands."""
    shim = build_shim(tmp_path_factory.mktemp("shim")) if CAN_FAIL else None
    folder = tmp_path_factory.mktemp("vectors")
    db = open_database(folder / "kdtui.db")
    list(import_dataset(db, OUTDOOR, "outdoor"))
    list(evaluate_split(db, "outdoor", "test", RunSettings("patterns"), split_to_score(db, "outdoor", "test")))
    db.close()
    save_known(folder / "vectors.npz")
    with Forks("kdtui", shim, folder / "vectors.npz") as started:
        yield started


@pytest.fixture
def make_bench(forks: Forks, serve: Serve, tmp_path: Path) -> Callable[[str], Bench]:
    """A function that makes the bench of a command."""

    def make(name: str) -> Bench:
        [command] = [each for each in COMMANDS if each.name == name]
        return Bench(command, tmp_path / "bench", forks, serve)

    return make


def check(trial: Trial) -> None:
    assert not trial.losses, f"{trial.command}, {trial.fault}, seed {trial.seed}: " + "\n".join(trial.losses)


@pytest.mark.parametrize("command", QUICK, ids=lambda command: command.name)
def test_a_disturbed_command_finishes_when_it_is_run_again(
    command: DisturbedCommand, forks: Forks, tmp_path: Path, serve: Serve
) -> None:
    bench = Bench(command, tmp_path / "bench", forks, serve)
    check(kill_trial(bench, SEED))
    if command.needs_teacher:
        check(server_trial(bench, SEED))
    if CAN_FAIL:
        check(write_trial(bench, SEED))
        if command.name in COPIED:
            check(copy_trial(bench, SEED))


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_any_bytes_are_read_or_refused_in_one_sentence(reader: Reader) -> None:
    @settings(max_examples=reader.quick, deadline=None)
    @given(st.integers(0, 2**32))
    def check(seed: int) -> None:
        read_or_refused(reader, mutated(random.Random(seed), reader.examples, reader.words))

    check()


@pytest.mark.parametrize(
    ("reader", "kept"),
    [pytest.param(reader, kept, id=f"{reader.name}: {kept.name}") for reader in READERS for kept in reader.corpus],
)
def test_inputs_that_were_problems_are_read_or_refused(reader: Reader, kept: Path) -> None:
    read_or_refused(reader, kept.read_bytes())


def test_every_kept_input_has_a_reader() -> None:
    assert {path.name for path in CORPUS.iterdir()} <= {reader.name.replace(" ", "-") for reader in READERS}


def read_or_refused(reader: Reader, data: bytes) -> None:
    refusal = None
    try:
        reader.read(data)
    except REFUSALS as error:
        refusal = str(error)
    assert refusal is None or (refusal and "\n" not in refusal)


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_the_examples_are_accepted(reader: Reader) -> None:
    for example in reader.examples:
        reader.read(example)


# The checks find what they look for.


def test_rows_that_are_lost_or_doubled_are_found(make_bench: Callable[[str], Bench]) -> None:
    bench = make_bench("mine")
    site = bench.copy()
    bench.run(site, bench.command.arguments(site))
    before = contents(site.store)
    assert before == bench.undisturbed.result
    with closing(sqlite3.connect(site.store)) as connection:
        connection.execute("DELETE FROM knowledge WHERE id = (SELECT max(id) FROM knowledge)")
        connection.execute("INSERT INTO bundle_items SELECT bundle_id, item_id + 1000 FROM bundle_items LIMIT 1")
        connection.commit()
    assert "1 rows of knowledge are lost" in lost(before, contents(site.store))[0]
    assert any("1 rows of bundle_items are too many" in each for each in differences(contents(site.store), before))
    assert "a row of bundle_items refers to no row of items" in damage(site.store)


def test_what_is_computed_again_may_be_missing(make_bench: Callable[[str], Bench]) -> None:
    bench = make_bench("evaluate")
    site = bench.copy()
    bench.run(site, bench.command.arguments(site))
    before = contents(site.store)
    caches = [table for table in ("floors", "text_vectors", "encoders") if before[table]]
    with closing(sqlite3.connect(site.store)) as connection:
        for table in caches:
            connection.execute(f"DELETE FROM {table}")
        connection.commit()
    assert caches
    assert differences(contents(site.store), before) == []


def test_a_missing_row_of_an_index_is_found(make_bench: Callable[[str], Bench]) -> None:
    bench = make_bench("mine")
    site = bench.copy()
    bench.run(site, bench.command.arguments(site))
    assert damage(site.store) == []
    with closing(sqlite3.connect(site.store)) as connection:
        connection.execute("DELETE FROM knowledge_fts_data WHERE id > 1000")
        connection.commit()
    assert damage(site.store)


def test_a_damaged_copy_is_found(make_bench: Callable[[str], Bench]) -> None:
    bench = make_bench("mine")
    site = bench.copy()
    copy = site.folder / "copy.db"
    with closing(sqlite3.connect(site.store)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    copy.write_bytes(site.store.read_bytes())
    assert look_at_copy(bench, site, copy) == ("a whole copy", [])
    whole = copy.read_bytes()
    copy.write_bytes(whole[: len(whole) // 2])
    assert look_at_copy(bench, site, copy) == ("a damaged copy", [])


def test_a_moody_server_fails_for_a_third_of_the_questions(serve: Serve) -> None:
    server = MoodyServer()
    url, _ = serve(server.reply)
    server.seed = 0
    for number in range(150):
        question = {"messages": [{"role": "user", "content": f"1. product {number}"}]}
        request = urllib.request.Request(f"{url}/chat/completions", json.dumps(question).encode())
        with suppress(OSError, http.client.HTTPException):
            urllib.request.urlopen(request, timeout=PATIENCE).close()
    assert 75 <= server.answered.total() <= 125


@needs_shim
def test_the_clock_of_a_command_can_be_set_back(make_bench: Callable[[str], Bench]) -> None:
    bench = make_bench("import")
    site = bench.copy()
    bench.run(site, bench.command.arguments(site), clock=-400 * 86_400)
    with closing(sqlite3.connect(site.store)) as connection:
        [(created, now)] = connection.execute("SELECT created_at, datetime('now', '-399 days') FROM datasets")
    assert created.replace("T", " ") < now


@needs_shim
def test_a_command_stops_before_a_call(make_bench: Callable[[str], Bench]) -> None:
    bench = make_bench("import")
    site = bench.copy()
    stops = FailingCall(str(site.folder), len(bench.undisturbed.calls) // 2, STOP)
    forked = bench.forks.start(bench.command.arguments(site), site.folder.parent, site.environment, stops)
    until(lambda: forked.state == psutil.STATUS_STOPPED)
    assert contents(site.store) != bench.undisturbed.result
    forked.send(signal.SIGCONT)
    assert forked.wait().code == 0
    assert contents(site.store) == bench.undisturbed.result


@needs_shim
def test_a_write_trial_says_whether_its_call_has_failed(make_bench: Callable[[str], Bench]) -> None:
    bench = make_bench("import")
    failed = write_trial(bench, SEED)
    assert failed.fault in ERRORS
    assert failed.call in bench.undisturbed.calls
    bench.undisturbed = replace(bench.undisturbed, calls=["write /nowhere"] * 1_000_000)
    assert write_trial(bench, SEED).fault == "no call failed"


@given(calls=st.lists(st.sampled_from(["write /a", "write /b", "fsync /a", "rename /b"]), min_size=1, max_size=60))
def test_each_kind_of_call_fails_before_any_fails_twice(calls: list[str]) -> None:
    order = order_of_failures("a command", calls)
    assert sorted(order) == sorted((kind, calls[: at + 1].count(kind)) for at, kind in enumerate(calls))
    assert {*order[: len({*calls})]} == {(kind, 1) for kind in calls}


@needs_shim
def test_calls_are_listed_by_their_kind(make_bench: Callable[[str], Bench]) -> None:
    calls = make_bench("export a dataset").undisturbed.calls
    # The random part of a name is left out.
    assert [call for call in calls if call.startswith("rename ")] == ["rename /output"]
    assert "write /.#.part" in calls


@pytest.mark.parametrize("command", ["distill with a teacher", "evaluate an endpoint"])
def test_a_question_that_is_paid_for_twice_is_found(make_bench: Callable[[str], Bench], command: str) -> None:
    bench = make_bench(command)
    site = bench.copy()
    bench.server.forget()
    assert bench.run(site, bench.command.arguments(site)).code == 0
    stored = questions_answered(site.store, bench.server.answered)
    assert stored
    assert stored == set(bench.server.answered)
    paid = paid_for(bench, site)
    assert paid == bench.server.answered
    assert paid_twice(bench, paid) == []
    bench.server.answered[next(iter(stored))] += 1
    assert "was asked again" in paid_twice(bench, paid)[0]
    bench.server.keys[next(iter(stored))].add(None)
    assert "was asked with other keys" in paid_twice(bench, paid)[1]


@needs_shim
def test_a_failing_call_fails_the_command(make_bench: Callable[[str], Bench]) -> None:
    bench = make_bench("import")
    site = bench.copy()
    ended = bench.run(site, bench.command.arguments(site), FailingCall(str(site.folder), 1, lasts=True))
    assert ended.code == 1
    assert "No space left on device" in ended.err or "disk is full" in ended.err


@needs_shim
@pytest.mark.parametrize("command", ["import", "mine"], ids=["a new database", "an existing one"])
@pytest.mark.parametrize("error", [errno.ENOLCK, errno.ENODEV], ids=["without locks", "without shared memory"])
def test_a_file_system_that_no_database_can_use_is_named(
    make_bench: Callable[[str], Bench], command: str, error: int
) -> None:
    bench = make_bench(command)
    site = bench.copy()
    fails = FailingCall(str(site.folder), 1, error, lasts=True)
    ended = bench.run(site, bench.command.arguments(site), fails)
    assert ended.code == 1
    assert "choose a database on a local disk with --db" in ended.err
