"""`kdtui run`: runs listed, shown, compared and deleted."""

import json
from math import isnan
from pathlib import Path

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from kdtui.cli import app
from kdtui.workflows.data.import_dataset import import_dataset
from kdtui.workflows.runs.runs import compare_runs, prompt_tokens
from kdtui.workflows.student.as_trained import settings_as_trained
from kdtui.workflows.student.command_options import adapters, evaluate_arguments, formats
from kdtui.workflows.student.settings import settings_for
from store.records import RunSettings
from store.runs import get_run, note_run, start_run
from store.sqlite import Database
from tests.support.commands import Kdtui


@pytest.fixture(autouse=True)
def imported(db: Database, outdoor: Path) -> None:
    list(import_dataset(db, outdoor, "outdoor"))


@pytest.fixture
def two_runs(kdtui: Kdtui, db: Database) -> None:
    """Run 1 has the bundles of the pattern student, and run 2 has answered three sessions with none."""
    assert kdtui("evaluate", "--student", "patterns").code == 0
    columns = "dataset_id, split, student, settings, created_at"
    db.execute(f"INSERT INTO runs (id, {columns}) SELECT 2, dataset_id, split, 'other', settings, created_at FROM runs")
    insert = "INSERT INTO predictions (run_id, session_id, bundles, error, seconds, created_at)"
    db.execute(f"{insert} SELECT 2, session_id, '[]', NULL, 1, created_at FROM predictions LIMIT 2")
    db.execute(
        f"{insert} SELECT 2, session_id, NULL, 'too long', 4, created_at FROM predictions "
        "WHERE run_id = 1 LIMIT 1 OFFSET 2"
    )
    db.conn.commit()


def test_without_runs_it_says_how_to_make_one(kdtui: Kdtui) -> None:
    result = kdtui("run", "ls")
    assert (result.code, result.out) == (0, "")
    assert "kdtui evaluate --dataset NAME" in result.err


@pytest.mark.usefixtures("two_runs")
def test_runs_are_listed_with_their_scores(kdtui: Kdtui) -> None:
    one, two = kdtui("run", "ls", "--json").rows
    assert (one["run"], one["name"], one["answered"], one["of"], one["failed"]) == (1, "patterns", 7, 7, 0)
    assert one["scores"]["pair_f1"] == kdtui("evaluate", "--resume", 1, "--json").rows[-2]["pair_f1"]
    assert (two["answered"], two["failed"], two["finished_at"], two["seconds_per_session"]) == (3, 1, None, 2)
    assert (two["scores"]["sessions"], two["scores"]["pair_f1"]) == (3, 0)
    table = kdtui("run", "ls").out
    assert "3/7" in table
    assert "unfinished" in table


@pytest.mark.usefixtures("two_runs")
def test_a_run_is_shown_in_full(kdtui: Kdtui) -> None:
    [shown] = kdtui("run", "show", 2, "--json").rows
    assert shown["settings"]["student"] == "patterns"
    assert list(shown["errors"].values()) == ["too long"]
    assert shown["repeat"] == "kdtui evaluate --dataset outdoor --student patterns"
    assert [floor["name"] for floor in shown["floors"]][-2:] == ["patterns", "truth"]
    result = kdtui("run", "show", 2)
    assert "too long" in result.out
    # Run 2 has answered three of seven sessions: the floors beside it are over these.
    assert {floor["sessions"] for floor in shown["floors"]} == {3}
    assert {floor["sessions"] for floor in kdtui("run", "show", 1, "--json").rows[0]["floors"]} == {7}
    assert "over all 3 sessions" in result.err
    assert "resume with: kdtui evaluate --resume 2" in result.err
    assert "resume with" not in kdtui("run", "show", 1).err


@pytest.mark.usefixtures("two_runs")
def test_two_runs_are_compared_by_all_scores_over_the_same_sessions_and_by_their_costs(
    kdtui: Kdtui, db: Database
) -> None:
    first, second = compare_runs(db, get_run(db, 1), get_run(db, 2)).results
    assert (first.scores.sessions, second.scores.sessions) == (3, 3)
    assert second.scores.valid == pytest.approx(2 / 3)
    assert not isnan(first.scores.intent_f1)
    assert isnan(second.scores.intent_f1)
    assert (first.cost.prompt_tokens, second.cost.prompt_tokens, second.cost.seconds) == (0, None, 2)
    out = kdtui("run", "compare", 1, 2).out
    assert "ROUGE-L" in out
    assert "seconds" in out
    assert out.count("run 2: other") == 3


@pytest.mark.usefixtures("two_runs")
def test_two_runs_are_compared_session_by_session_the_worst_first(kdtui: Kdtui) -> None:
    result = kdtui("run", "compare", 1, 2, "--json")
    assert len(result.rows) == 3
    differences = [row["difference"] for row in result.rows]
    assert differences == sorted(differences)
    assert all(row["difference"] == row["pair_f1"][1] - row["pair_f1"][0] for row in result.rows)
    result = kdtui("run", "compare", 1, 2)
    assert "over 3 sessions run 2 is better on 0, worse on 3, and equal on 0" in result.err
    assert "left out: 4 sessions that only run 1 has answered, and 0 that only run 2 has answered" in result.err
    assert all(row["difference"] == 0 for row in kdtui("run", "compare", 1, 1, "--json").rows)


@pytest.mark.usefixtures("two_runs")
def test_runs_over_different_sessions_cannot_be_compared(kdtui: Kdtui, db: Database, outdoor: Path) -> None:
    assert kdtui("evaluate", "--student", "patterns", "--split", "valid").code == 0
    result = kdtui("run", "compare", 1, 3)
    assert result.code == 1
    why = "run 1 is about the test split, and run 3 about the valid split; only runs over the same sessions"
    assert why in result.err
    start_run(db, "outdoor", "test", "nobody", RunSettings("patterns"))
    assert "no session in common" in kdtui("run", "compare", 1, 4).err
    list(import_dataset(db, outdoor, "garden"))
    start_run(db, "garden", "test", "nobody", RunSettings("patterns"))
    assert "run 1 is about outdoor, and run 5 about garden; only" in kdtui("run", "compare", 1, 5).err


@pytest.mark.usefixtures("two_runs")
def test_a_run_is_deleted_with_its_answers(kdtui: Kdtui, db: Database) -> None:
    assert kdtui("run", "rm", 1, "--yes").code == 0
    assert [row["run"] for row in kdtui("run", "ls", "--json").rows] == [2]
    assert db.execute("SELECT count(*) FROM predictions").fetchone() == (3,)
    for command in (["rm", 1, "--yes"], ["show", 1], ["compare", 2, 1]):
        result = kdtui("run", *command)
        assert (result.code, result.err) == (1, "kdtui: there is no run 1; kdtui run ls lists the runs\n")


def test_a_run_without_answers_says_how_to_resume(kdtui: Kdtui, db: Database) -> None:
    start_run(db, "outdoor", "test", "nobody", RunSettings("patterns", limit=2))
    [row] = kdtui("run", "ls", "--json").rows
    assert (row["scores"], row["answered"], row["of"], row["seconds_per_session"]) == (None, 0, 2, None)
    assert "-" in kdtui("run", "ls").out
    assert "kdtui evaluate --resume 1" in kdtui("run", "show", 1).err


def test_unreadable_settings_are_one_sentence(kdtui: Kdtui, db: Database) -> None:
    start_run(db, "outdoor", "test", "nobody", RunSettings("patterns"))
    db.execute("UPDATE runs SET settings = '{\"student\": 1}'")
    db.conn.commit()
    result = kdtui("run", "ls")
    assert result.code == 1
    assert "the settings of run 1 cannot be read" in result.err


def test_hostile_names_are_text(kdtui: Kdtui, db: Database) -> None:
    hostile = "[red]x[/] \x1b[31m \u202e" + "y" * 10_000
    start_run(db, "outdoor", "test", hostile, RunSettings(hostile))
    note_run(db, 1, hostile)
    for command in (["ls"], ["show", 1]):
        result = kdtui("run", *command)
        assert result.code == 0
        assert "\x1b" not in result.out + result.err
        assert "[red]x[/]" in result.out


@pytest.mark.parametrize(
    "settings",
    [
        settings_for(
            "smollm2", ("rule", "thought"), limit=3, seed=4, sample="a half", neighbours=2, budget=9, near="smollm2"
        ),
        settings_for("smollm2", strategy="pairs", adapters=(("camping", 1.0), ("a=1", 1.0), ("b", 0.5)), context=512),
        settings_for("shipped"),
        settings_for("--odd"),
    ],
)
def test_the_command_that_repeats_a_run_makes_the_same_settings(settings: RunSettings, db: Database) -> None:
    words = evaluate_arguments("d", "train", settings)
    group = get_command(app)
    assert isinstance(group, TyperGroup)
    given = group.commands[words[0]].make_context("evaluate", words[1:]).params
    assert (given["dataset"], given["split"]) == ("d", "train")
    same = settings_as_trained(
        db,
        given["student"],
        None if given["knowledge"] is None else formats(given["knowledge"]),
        adapters=adapters(given["adapter"]),
        **{
            name: given[name]
            for name in ("limit", "seed", "context", "strategy", "sample", "neighbours", "budget", "near")
        },
    )
    assert same == settings


def test_more_knowledge_makes_a_longer_prompt(kdtui: Kdtui, db: Database) -> None:
    assert kdtui("knowledge", "mine").code == 0
    for settings in (RunSettings("smollm2"), RunSettings("smollm2", ("pattern",)), RunSettings("patterns")):
        start_run(db, "outdoor", "test", "x", settings)
    bare, shown, none = (prompt_tokens(db, get_run(db, number)) for number in (1, 2, 3))
    assert none == 0
    assert bare is not None
    assert shown is not None
    assert 0 < bare < shown


def test_the_length_of_a_prompt_is_unknown_if_its_knowledge_was_deleted(db: Database) -> None:
    run = start_run(db, "outdoor", "test", "x", RunSettings("smollm2", ("rule",)))
    assert prompt_tokens(db, run) is None
    run = start_run(db, "outdoor", "test", "x", RunSettings("http://h/v1#m", strategy="aicl"))
    assert prompt_tokens(db, run) is None


@pytest.mark.usefixtures("two_runs")
def test_each_line_of_json_is_an_object(kdtui: Kdtui) -> None:
    for command in (["ls"], ["show", 1], ["compare", 1, 2]):
        for line in kdtui("run", *command, "--json").out.splitlines():
            assert isinstance(json.loads(line), dict)


@pytest.mark.usefixtures("two_runs")
def test_tags_find_runs(kdtui: Kdtui) -> None:
    assert kdtui("run", "tag", 1, "paper", "größe").err == "run 1 has the tags größe, paper\n"
    assert kdtui("run", "tag", 2, "paper", "paper").err == "run 2 has the tags paper\n"
    assert kdtui("evaluate", "--student", "patterns", "--tag", "new", "--tag", "paper").code == 0

    def under(*tags: str) -> list[int]:
        options = [part for tag in tags for part in ("--tag", tag)]
        return [row["run"] for row in kdtui("run", "ls", *options, "--json").rows]

    assert (under("paper"), under("paper", "größe"), under("new"), under("none")) == ([1, 2, 3], [1], [3], [])
    assert "none of 3 runs has the tag none" in kdtui("run", "ls", "--tag", "none").err
    assert kdtui("run", "ls", "--json").rows[0]["tags"] == ["größe", "paper"]
    assert "größe, paper" in kdtui("run", "ls").out
    assert "größe, paper" in kdtui("run", "show", 1).out
    kdtui("evaluate", "--resume", 2, "--tag", "whole")
    assert under("whole") == [2]
    assert kdtui("run", "tag", 1, "--remove", "größe", "paper").err == "run 1 has no tags\n"
    assert under("paper") == [2, 3]
    assert kdtui("run", "rm", 3, "--yes").code == 0
    assert under("new") == []


@pytest.mark.usefixtures("two_runs")
def test_a_note_is_stored_with_a_run(kdtui: Kdtui) -> None:
    assert kdtui("run", "note", 1, "before the  <fix>\nof 'sizes'").code == 0
    assert kdtui("run", "show", 1, "--json").rows[0]["note"] == "before the  <fix>\nof 'sizes'"
    assert "before the <fix> of 'sizes'" in kdtui("run", "show", 1).out
    assert "before the <fix> of 'sizes'" in kdtui("run", "ls").out
    assert kdtui("run", "note", 1, "other").err == "run 1 has the note: other\n"
    assert kdtui("run", "note", 1, " ").err == "run 1 has no note now\n"
    assert [row["note"] for row in kdtui("run", "ls", "--json").rows] == [None, None]


def test_a_list_of_runs_has_columns_for_their_settings(kdtui: Kdtui, db: Database) -> None:
    assert kdtui("knowledge", "mine").code == 0
    kdtui("knowledge", "distill", "--format", "rule")
    kdtui("sample", "create", "few", "--format", "rule", "--ratio", 0.25)
    kdtui("sample", "create", "more", "--format", "rule", "--ratio", 0.5, "--add-to", "few")
    for settings in (
        RunSettings("patterns"),
        settings_for("smollm2", ("rule",), sample="few", strategy="pairs", adapters=(("camping", 0.5),)),
        settings_for("smollm2", ("rule",), sample="more"),
        settings_for("smollm2", ("rule",), sample="gone"),
    ):
        start_run(db, "outdoor", "test", "x", settings)
    rows = kdtui("run", "ls", "--json").rows
    assert [row["student"] for row in rows] == ["patterns", "smollm2", "smollm2", "smollm2"]
    assert [row["knowledge"] for row in rows] == [[], ["rule"], ["rule"], ["rule"]]
    assert [row["sample"] for row in rows] == [None, "few", "more", "gone"]
    assert [row["ratio"] for row in rows] == [None, 0.25, [0.25, 0.5], None]
    assert [row["strategy"] for row in rows] == [None, "pairs", None, None]
    assert rows[1]["adapters"] == [["camping", 0.5]]
    table = kdtui("run", "ls").out
    assert all(title in table for title in ("knowledge", "sample", "ratio", "strategy", "adapter", "camping x 0.5"))
    for number in (2, 3, 4):
        assert kdtui("run", "rm", number, "--yes").code == 0
    table = kdtui("run", "ls").out
    assert not any(title in table for title in ("knowledge", "sample", "ratio", "adapter", "tags", "note"))
