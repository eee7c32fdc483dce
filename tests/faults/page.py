"""Writes docs/reliability.md from the results of `make soak`: python -m tests.faults.page FOLDER."""

import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.faults.shortfalls import found_load, kinds_of_failed_calls, shortfalls
from tests.faults.soak import commit, planned_rows
from tests.support.repository import ROOT

PAGE = ROOT / "docs" / "reliability.md"

_HEAD = """# Reliability

What kdtui promises about failures, and how often that was tried. `make soak` makes these tables; it resumes if it is
stopped. They are of the code at commit {commit}, and took {hours:.1f} hours with {processes} processes. `make test`
does a short version, with new seeds each day.

- Whatever ends a command, finished work is kept, nothing is stored twice, and the same command finishes what is left.
  Its result is the one of an undisturbed run.
- A question whose answer is stored is not paid for again, also if two commands ask at the same time.
- A full or failing disk gives one sentence, and leaves the database as it was before the command, or between two
  finished steps of it.
- Any input is read, or refused in one sentence.
"""

_KILLS = """## Commands that are killed

A command gets a signal at a random moment, up to three times in a row. After each, SQLite checks the database. Then
the command runs to its end, in half of the cases with a clock that was set back by a minute or by four hundred days,
and its result is compared with that of an undisturbed run: the rows of all tables, or the files that it wrote, byte by
byte. A loss is any difference, any row that was in the database before and is missing at the end, any question that a
teacher is asked again although its answer is stored, any answer of a student that is made again, and any traceback. (A
question that was on its way when the command was killed is asked again, with the same idempotency key, by which servers
that know such keys do not charge twice.)

The columns are signals that arrived before the end of the command; one trial can have several. A trainer gets no SIGINT
and no SIGHUP: it runs in a session of its own.
"""

_WRITES = """## Commands that cannot write

One call to the file system fails among all that the command makes (writing, creating, renaming, synchronizing), or all
calls from that one on. Calls are of one kind if they are of the same function and to the same file, such as `fsync` of
the log of the database. The trials of a command take its calls in an order in which each kind comes before any comes
twice. The checks are the same. The command must fail in a sentence, or succeed with the whole result; what is computed
again where it is missing, such as the vectors of texts, need not be stored. Calls of processes that a command starts,
to quantize a model or on a host, do not fail.
"""

_ANSWERS = """## Models that fail

A third of the answers of a server are failures, drawn from many ways in which servers differ and fail: refusals,
redirects, connections that end early, answers that come too late, other protocols, bodies that are no completion, and
texts that are no answer. All that it says contains characters that a terminal would obey. The command runs twice with
failures, and once without. A loss is any knowledge at the end that an undisturbed run does not have or that is missing,
any other bundle in an answer, any question that a teacher is asked again after a good answer, any traceback, and any
control character in the output.
"""

_COPIES = """## A database that is copied while it is written

The file of a database is copied alone, without its log, before one of the calls to the file system that a command
makes. Commands that read the copy must succeed or fail in one sentence, and `kdtui doctor` must say whether the copy is
damaged. (To copy a database that is in use, take its `-wal` file along, or let SQLite do it: `sqlite3 FILE ".backup
COPY"`.)
"""

_INPUTS = """## Hostile input

Valid examples are changed in up to eight places: bits, parts that are deleted, repeated or exchanged, and words that
mean something to the reader. Half of those in JSON get other values and stay JSON. A crash is any error that is not a
sentence for the user.
"""

_GUIDED = """Beside these, libFuzzer keeps inputs that reach new code, and changes them further, {seconds} seconds for
each reader (with [atheris](https://github.com/google/atheris), where it installs). An input that takes more than ten
seconds is also a crash.
"""

SINGLE_TESTS: Sequence[tuple[str, str, str]] = (
    (
        "a database that another process locks for more than 30 seconds",
        "tests/store/test_locks.py",
        "test_a_database_that_is_locked_for_more_than_half_a_minute_is_waited_for",
    ),
    (
        "a file system without locks, or without shared memory",
        "tests/faults/test_faults.py",
        "test_a_file_system_that_no_database_can_use_is_named",
    ),
    (
        "a database that can only be read",
        "tests/store/test_database.py",
        "test_writing_to_a_read_only_database_is_reported",
    ),
    (
        "a real disk without space",
        "tests/faults/test_small_disks.py",
        "test_a_full_disk_is_named_and_the_import_works_when_there_is_space",
    ),
    (
        "a real disk without inodes",
        "tests/faults/test_small_disks.py",
        "test_a_disk_without_inodes_is_named_and_the_import_works_when_there_are_some",
    ),
    ("two processes that import", "tests/store/test_locks.py", "test_two_concurrent_imports_both_succeed"),
    (
        "two processes that ask a paid teacher the same questions",
        "tests/kdtui/workflows/calls/test_two_at_once.py",
        "test_two_distillations_pay_for_each_question_once",
    ),
    (
        "one of them is killed",
        "tests/kdtui/workflows/calls/test_two_at_once.py",
        "test_a_distillation_takes_over_the_question_of_one_that_is_killed",
    ),
    (
        "two processes that answer the same run",
        "tests/kdtui/workflows/calls/test_two_at_once.py",
        "test_a_run_is_answered_by_one_process_at_a_time",
    ),
    (
        "a checkpoint whose newest file is cut",
        "tests/models/sft/test_sft_faults.py",
        "test_a_training_resumes_from_the_checkpoint_before_a_damaged_one",
    ),
    (
        "a host that disappears while its log is followed",
        "tests/kdtui/workflows/training/test_remote_trainings.py",
        "test_a_followed_log_continues_after_a_lost_connection",
    ),
    (
        "a network that stalls",
        "tests/kdtui/workflows/training/test_remote_trainings.py",
        "test_a_followed_log_continues_after_a_frozen_network",
    ),
    (
        "a log that begins anew while it is followed",
        "tests/kdtui/workflows/training/test_remote_trainings.py",
        "test_a_followed_log_that_restarts_is_shown_from_its_start",
    ),
    (
        "an upload that ends early",
        "tests/kdtui/hosts/test_uploads.py",
        "test_an_upload_resumes_where_a_killed_client_stopped",
    ),
    (
        "a fetch that ends early",
        "tests/kdtui/workflows/training/test_homecoming.py",
        "test_a_client_that_is_killed_during_a_fetch_leaves_no_partial_adapter",
    ),
    (
        "a machine with another key",
        "tests/kdtui/hosts/test_unreachable_hosts.py",
        "test_the_advised_command_shows_a_changed_key",
    ),
    (
        "an upgrade of the database that fails",
        "tests/store/test_upgrade.py",
        "test_a_failing_upgrade_leaves_the_file_as_it_was",
    ),
)
"""Faults that have a test of their own, which every run of the tests makes."""

_SINGLE = """## Other faults

Each of these has a test of its own, which `make test-all` runs.
"""

_LOAD = """## Load

For {minutes:.0f} minutes on {processors} processors, one process writes and eight read a database of a million pieces
of knowledge, a hundred thousand calls of teachers and two hundred trainings. Each step opens the database. Beside them
the app goes from place to place, and twenty logs grow by five lines a second and are followed: a log on this machine is
read every half a second.
"""


_MANY = """## Many sessions

One command `kdtui generate` answers ten thousand sessions, with a student without a language model and with a tiny one.
The times are those from one answer to the next; answers come in groups.
"""


def page(folder: Path) -> str:
    """Return the page for the results in a folder."""
    rows = planned_rows(folder)
    kinds = ("kills", "writes", "answers", "copies", "inputs", "guided")
    by_kind = {kind: [row for row in rows if row["kind"] == kind] for kind in kinds}
    load = found_load(folder)
    processes = max((row["processes"] for row in rows), default=1)
    seconds = sum(row["seconds"] for row in rows) / processes + load.get("in_all", 0)
    parts = [
        _HEAD.format(commit=commit(), hours=seconds / 3600, processes=processes),
        _KILLS,
        _fault_table(by_kind["kills"]),
        _WRITES,
        _fault_table(by_kind["writes"], with_calls=True),
        _ANSWERS,
        _fault_table(by_kind["answers"]),
        _COPIES,
        _fault_table(by_kind["copies"]),
        _SINGLE,
        _single_table(),
        _INPUTS,
        _input_table(by_kind["inputs"]),
    ]
    if guided := by_kind["guided"]:
        parts += [_GUIDED.format(seconds=guided[0]["count"]), _guided_table(guided)]
    if load:
        parts += [
            _LOAD.format(minutes=load["seconds"] / 60, processors=load["processors"]),
            _load_table(load["latencies"]),
            _memory(load["memory"]),
            _MANY,
            _many_table(load["many_sessions"]),
        ]
        parts.append(f"SQLite found this wrong with the database afterwards: {load['damage'] or 'nothing'}.\n")
    return "\n".join(parts)


def _fault_table(rows: Sequence[Mapping[str, Any]], *, with_calls: bool = False) -> str:
    runs: Counter[str] = Counter()
    calls = {row["name"]: max(each["calls"] for each in rows if each["name"] == row["name"]) for row in rows}
    losses: Counter[str] = Counter()
    faults: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        runs[row["name"]] += row["count"]
        losses[row["name"]] += len(row["losses"])
        for fault, count in row["faults"].items():
            for each in fault.split("+"):
                faults[row["name"]][each] += count
    kinds = sorted({kind for counts in faults.values() for kind in counts})
    lines = []
    kinds_of_calls = kinds_of_failed_calls(rows)
    for name in sorted(runs):
        its_calls = [f"{calls[name]:,}", "{:,} of {:,}".format(*map(len, kinds_of_calls[name]))] if with_calls else []
        its_faults = [f"{faults[name][kind]:,}" for kind in kinds]
        lines.append([name, *its_calls, *its_faults, f"{runs[name]:,}", f"{losses[name]:,}"])
    totals = [f"{sum(faults[name][kind] for name in runs):,}" for kind in kinds]
    before = ["", ""] if with_calls else []
    return _table(
        ["command", *(["calls", "kinds that failed"] if with_calls else []), *kinds, "runs", "losses"],
        [*lines, ["**all**", *before, *totals, f"{runs.total():,}", f"{losses.total():,}"]],
    )


def _single_table() -> str:
    return _table(["fault", "test"], [[fault, f"[`{name}`](../{path})"] for fault, path, name in SINGLE_TESTS])


def _input_table(rows: Sequence[Mapping[str, Any]]) -> str:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    slowest: dict[str, float] = defaultdict(float)
    for row in rows:
        name = row["name"]
        counts[name] += Counter({**row["faults"], "tried": row["count"], "crashes": len(row["losses"])})
        slowest[name] = max(slowest[name], row["slowest"])
    names = ("tried", "read", "refused", "crashes")
    lines = [
        [name, *(f"{found[each]:,}" for each in names), f"{slowest[name]:.2f} s"] for name, found in counts.items()
    ]
    totals = [f"{sum(found[each] for found in counts.values()):,}" for each in names]
    return _table(["input", *names, "slowest"], [*sorted(lines), ["**all**", *totals, ""]])


def _guided_table(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = [[row["name"], f"{row['faults']['tried']:,}", f"{len(row['losses']):,}"] for row in rows]
    tried, crashes = sum(row["faults"]["tried"] for row in rows), sum(len(row["losses"]) for row in rows)
    return _table(["input", "tried", "crashes"], [*sorted(lines), ["**all**", f"{tried:,}", f"{crashes:,}"]])


def _load_table(latencies: Iterable[Mapping[str, Any]]) -> str:
    return _table(
        ["work", "times", "p50", "p99", "longest", "errors"],
        [
            [
                each["work"],
                f"{each['count']:,}",
                *(f"{1000 * each[name]:,.0f} ms" for name in ("p50", "p99", "longest")),
                f"{len(each['errors']):,}",
            ]
            for each in sorted(latencies, key=lambda each: each["work"])
        ],
    )


def _many_table(runs: Iterable[Mapping[str, Any]]) -> str:
    return _table(
        ["student", "answers", "seconds", "p50", "p99", "longest", "MB at half time", "MB at the end", "errors"],
        [
            [
                run["student"],
                f"{run['answers']:,}",
                f"{run['seconds']:,.0f}",
                *(f"{1000 * run[name]:,.0f} ms" for name in ("p50", "p99", "longest")),
                *(f"{each:,.0f}" for each in run["memory"]),
                f"{len(run['errors']):,}",
            ]
            for run in runs
        ],
    )


def _memory(memory: Mapping[str, Sequence[float]]) -> str:
    grown = {name: f"{name.partition(' ')[0]}: {half:,.0f} to {late:,.0f} MB" for name, (half, late) in memory.items()}
    return f"Memory after half of the time and at the end: {'; '.join(grown[each] for each in sorted(grown))}.\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---", *("---:" for _ in head[1:])], *rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in lines) + "\n"


def main(folder: Path) -> int:
    """Write the page if the results show what it promises; return the exit code."""
    if found := shortfalls(folder):
        print("\n".join(found), file=sys.stderr)
        return 1
    PAGE.write_text(page(folder), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
