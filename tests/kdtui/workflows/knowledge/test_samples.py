"""Samples of knowledge: nested shares, drawn by properties of the training sessions."""

import json
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdtui.bundling.histogram import bar, histogram
from kdtui.distill.sampling import (
    SampleStrategy,
    by_length,
    farthest_first,
    in_random_order,
    longest_first,
    take_from_front,
)
from kdtui.tui.places.samples.form import DrawForm
from kdtui.workflows.data.import_dataset import import_dataset
from kdtui.workflows.knowledge.distill import distill_annotations
from kdtui.workflows.knowledge.mine_patterns import mine_patterns
from store.jobs import add_job
from store.knowledge import find_knowledge
from store.predictions import PredictedBundle, Prediction, add_prediction
from store.records import STATUSES, Item, RunSettings, Session, TrainingSettings
from store.runs import finish_run, start_run
from store.samples import pieces_of_sample
from store.sessions import iter_sessions
from store.sqlite import Database
from tests.support.commands import Kdtui

ORDERS = [in_random_order, by_length, longest_first, farthest_first]
TITLES = st.lists(st.sampled_from(["tent", "mat", "pan", "phone case", "", "青い"]), min_size=1, max_size=6)


def sessions_of(titles: list[list[str]]) -> list[Session]:
    return [
        Session(f"s{number}", tuple(Item(f"{number}-{at}", title) for at, title in enumerate(each)), (), "train")
        for number, each in enumerate(titles)
    ]


@pytest.fixture
def known(db: Database, outdoor: Path) -> Database:
    for name in ("one", "two"):
        list(import_dataset(db, outdoor, name))
        mine_patterns(db, name)
        list(distill_annotations(db, name, ["rule", "thought"]))
    return db


@pytest.mark.parametrize("order", ORDERS)
@given(titles=st.lists(TITLES, max_size=25), seed=st.integers(0, 5))
def test_an_order_has_every_session_once_and_is_reproducible(
    order: Callable[[list[Session], int], list[str]], titles: list[list[str]], seed: int
) -> None:
    sessions = sessions_of(titles)
    found = order(sessions, seed)
    assert sorted(found) == sorted(session.id for session in sessions)
    assert order(sessions, seed) == found


def test_every_beginning_of_the_order_by_length_has_all_lengths_in_proportion() -> None:
    sessions = sessions_of([["x"] * 2] * 30 + [["x"] * 5] * 60 + [["x"] * 9] * 10)
    length = {session.id: len(session.items) for session in sessions}
    for seed in range(5):
        front = [length[each] for each in by_length(sessions, seed)[:50]]
        assert abs(front.count(2) - 15) <= 1
        assert abs(front.count(5) - 30) <= 1
        assert abs(front.count(9) - 5) <= 1


def test_longest_first_sorts_by_length_and_farthest_first_by_dissimilarity() -> None:
    sessions = sessions_of([["tent"], ["tent"], ["tent"], ["phone case", "pan"], ["mat"]])
    assert longest_first(sessions, 3)[0] == "s3"
    assert set(farthest_first(sessions, 0)[:3]) >= {"s3", "s4"}


@pytest.mark.parametrize("strategy", get_args(SampleStrategy))
def test_the_command_and_the_app_offer_every_strategy(strategy: str, kdtui: Kdtui) -> None:
    refused = kdtui("sample", "create", "x", "--dataset", "nowhere", "--strategy", strategy)
    assert "there is no dataset" in refused.err, "the strategy is accepted"
    assert strategy in kdtui("sample", "create", "--help").out
    [field] = [each for each in DrawForm({"one": {"rule": 1}}, [], [], None).fields if each.name == "strategy"]
    assert strategy in [value for _, value in field.options]


@given(
    st.dictionaries(st.integers(1, 40), st.lists(st.sampled_from("abcdefgh"), max_size=3), min_size=1),
    st.floats(0.01, 1),
    st.floats(0.01, 1),
)
def test_a_larger_share_contains_the_smaller_one(pieces: dict[int, list[str]], one: float, other: float) -> None:
    small, large = sorted((one, other))
    order = list("hgfedcba")
    front = take_from_front(order, pieces, large)
    assert front[: len(take_from_front(order, pieces, small))] == take_from_front(order, pieces, small)
    assert 1 <= len(front) <= len(pieces)
    assert len(take_from_front(order, pieces, 1.0)) == len(pieces)


@pytest.mark.usefixtures("known")
def test_samples_are_drawn_listed_compared_and_deleted(kdtui: Kdtui) -> None:
    for name, ratio in (("small", 0.2), ("large", 0.6)):
        assert kdtui("sample", "create", name, "-d", "one", "--ratio", ratio, "--strategy", "diversity").code == 0
    [compared] = kdtui("sample", "compare", "small", "large", "--json").rows
    assert compared["common"] == compared["pieces"][0] > 0
    listed = {row["name"]: row for row in kdtui("sample", "ls", "--json").rows}
    assert listed["large"]["pieces"] == compared["pieces"][1]
    assert listed["large"]["draws"][0]["strategy"] == "diversity"
    assert "0.6 of one by diversity, seed 0: patterns, rules, thoughts" in " ".join(kdtui("sample", "ls").out.split())
    rows = kdtui("knowledge", "ls", "--sample", "small", "--json", "-n", 500).rows
    assert len(rows) == compared["pieces"][0]
    assert kdtui("sample", "rm", "small", "--yes").code == 0
    assert "there is no sample 'small'" in kdtui("sample", "compare", "small", "large").err


def test_a_sample_is_shown_with_its_contents(known: Database, kdtui: Kdtui) -> None:
    assert kdtui("sample", "create", "x", "-d", "one", "-f", "pattern,thought", "--ratio", 0.5).code == 0
    [row] = kdtui("sample", "show", "x", "--json").rows
    rows = kdtui("knowledge", "ls", "--sample", "x", "--json", "-n", 999).rows
    assert row["formats"] == dict(Counter(each["format"] for each in rows))
    assert sum(each["count"] for each in row["tokens"]) == row["pieces"] == len(rows)
    longest = max(len(each["statement"]) // 3 + 1 for each in rows)
    assert row["tokens"][-1]["low"] <= longest
    # Each thought comes from one session; patterns come from too many to list them.
    assert sum(each["count"] for each in row["products"]) == row["formats"]["thought"]
    assert row["without_session"] == row["formats"]["pattern"]
    run = start_run(known, "one", "test", "someone", RunSettings("smollm2", ("rule",), sample="x"))
    add_job(known, "trained", Path("nowhere"), TrainingSettings(("one",), sample="x"), "key")
    shown = kdtui("sample", "show", "x")
    assert "█" in shown.out
    assert f"used by run {run.id}, training trained" in shown.err
    assert "there is no sample 'y'" in kdtui("sample", "show", "y").err


@pytest.mark.usefixtures("known")
def test_shared_pieces_of_two_samples_are_listed(kdtui: Kdtui) -> None:
    for name, formats in (("a", "rule,thought"), ("b", "pattern,rule")):
        assert kdtui("sample", "create", name, "-d", "one", "-f", formats, "--ratio", 1).code == 0
    shared = kdtui("sample", "compare", "a", "b", "--shared", "--json").rows
    rules = kdtui("knowledge", "ls", "--sample", "a", "-f", "rule", "--json", "-n", 999).rows
    assert {each["id"] for each in shared} == {each["id"] for each in rules}
    assert kdtui("sample", "compare", "a", "b", "--json").rows[0]["common"] == len(shared)
    assert shared[0]["statement"][:20] in kdtui("sample", "compare", "a", "b", "--shared").out


@given(st.dictionaries(st.integers(0, 5000), st.integers(1, 10**9), max_size=40), st.integers(2, 12))
def test_a_histogram_has_every_value_once_in_bins_of_equal_width(counts: dict[int, int], most: int) -> None:
    bins = histogram(counts, most)
    assert len(bins) <= most
    assert sum(each.count for each in bins) == sum(counts.values())
    for each in bins:
        high = each.high if each.high is not None else 10**9
        assert each.count == sum(count for value, count in counts.items() if each.low <= value <= high)
    closed = [each.high - each.low for each in bins if each.high is not None]
    assert len(set(closed)) <= 1
    assert all(first.high is not None and first.high + 1 == second.low for first, second in pairwise(bins))


def test_a_few_outliers_do_not_squeeze_the_others() -> None:
    bins = histogram({**dict.fromkeys(range(10, 20), 100), 10_000: 1})
    assert [each.label for each in bins[:2]] == ["10–11", "12–13"]
    assert (bins[-1].label, bins[-1].count) == ("20–", 1)


def test_a_bar_is_proportional_to_its_count_and_never_invisible() -> None:
    assert [bar(count, 8, 1) for count in (0, 1, 4, 8)] == ["", "▏", "▌", "█"]
    assert bar(1, 10**9, 10) == "▏"
    assert bar(0, 0, 10) == ""
    assert bar(10**9, 10**9, 10) == "█" * 10


def test_samples_add_up_across_formats_and_datasets(known: Database, kdtui: Kdtui) -> None:
    every = "pattern,rule,thought"
    assert kdtui("sample", "create", "a", "-d", "one", "-f", "thought", "--ratio", 0.5).code == 0
    assert kdtui("sample", "create", "b", "-d", "two", "-f", every, "--ratio", 0.5, "--add-to", "a").code == 0
    both = {row["dataset"] for row in kdtui("knowledge", "ls", "--sample", "b", "--json", "-n", 999).rows}
    assert both == {"one", "two"}
    assert set(pieces_of_sample(known, "a")) < set(pieces_of_sample(known, "b"))


def test_a_sample_has_all_formats_of_its_dataset_unless_some_are_named(
    known: Database, kdtui: Kdtui, outdoor: Path
) -> None:
    result = kdtui("sample", "create", "x", "-d", "one")
    counts = kdtui("sample", "show", "x", "--json").rows[0]["formats"]
    assert list(counts) == ["pattern", "rule", "thought"]
    held = f"{counts['pattern']} patterns, {counts['rule']} rules, {counts['thought']} thoughts"
    assert result.err == f"sample x has {sum(counts.values())} pieces of knowledge: {held}\n"
    list(import_dataset(known, outdoor, "mined"))
    mine_patterns(known, "mined")
    assert kdtui("sample", "create", "y", "-d", "mined").code == 0
    assert list(kdtui("sample", "show", "y", "--json").rows[0]["formats"]) == ["pattern"]


@pytest.mark.usefixtures("known")
def test_a_sample_shows_its_patterns_to_a_student(kdtui: Kdtui) -> None:
    assert kdtui("sample", "create", "x", "-d", "one", "--ratio", 1).code == 0
    shown = kdtui("knowledge", "for", "o34", "-d", "one", "--knowledge", "pattern", "--sample", "x")
    assert shown.code == 0
    assert shown.out == kdtui("knowledge", "for", "o34", "-d", "one", "--knowledge", "pattern").out


def test_a_sample_by_query_or_numbers_excludes_rejected_pieces_by_default(known: Database, kdtui: Kdtui) -> None:
    kept, rejected = (
        [piece.id for piece in find_knowledge(known, dataset="one", format="rule", status=status)]
        for status in STATUSES
    )
    query = "dataset:one format:rule"
    numbers = ",".join(map(str, [*kept, *rejected]))
    for name, arguments in (("q", ["--query", query]), ("n", ["--pieces", numbers])):
        result = kdtui("sample", "create", name, *arguments)
        assert pieces_of_sample(known, name) == sorted(kept)
        assert result.err == (
            f"sample {name} has {len(kept)} pieces of knowledge; {len(rejected)} rejected pieces are left out, since "
            "they are never shown to a student (--all includes them)\n"
        )
        assert kdtui("sample", "create", f"{name}-all", *arguments, "--all").code == 0
        assert pieces_of_sample(known, f"{name}-all") == sorted([*kept, *rejected])
    assert kdtui("sample", "create", "r", "--query", f"{query} status:rejected").code == 0
    assert pieces_of_sample(known, "r") == sorted(rejected)


def test_replacing_a_sample_says_what_is_lost(known: Database, kdtui: Kdtui) -> None:
    assert kdtui("sample", "create", "x", "-d", "one", "-f", "rule").code == 0
    size = len(pieces_of_sample(known, "x"))
    run = start_run(known, "one", "test", "someone", RunSettings("smollm2", ("rule",), sample="x"))
    replaced = kdtui("sample", "create", "x", "-d", "one", "-f", "thought", "--replace")
    assert f"it replaces a sample with {size} pieces; run {run.id} used the old one" in replaced.err
    assert "it replaces" not in kdtui("sample", "create", "y", "-d", "one", "--replace").err


def test_difficulty_selects_the_worst_answers_first(known: Database, kdtui: Kdtui) -> None:
    missing = kdtui("sample", "create", "hard", "-d", "one", "--strategy", "difficulty")
    assert missing.code == 1
    assert "kdtui evaluate --dataset one --split train --student smollm2" in missing.err
    run = start_run(known, "one", "train", "someone", RunSettings("smollm2"))
    train = list(iter_sessions(known, "one", split="train"))
    for number, session in enumerate(train):
        # All but the first two have the true bundles as answers.
        right = tuple(PredictedBundle((), bundle.positions, "", 1.0) for bundle in session.bundles)
        add_prediction(known, run, Prediction(session.id, () if number < 2 else right, None, 0.1))
    hard = ["hard", "-d", "one", "--strategy", "difficulty", "-f", "thought", "--ratio", 2 / len(train)]
    assert kdtui("sample", "create", *hard).code == 0
    rows = kdtui("knowledge", "ls", "--sample", "hard", "--json").rows
    shown = {kdtui("knowledge", "show", row["id"], "--json").rows[0]["sessions"][0] for row in rows}
    assert shown == {train[0].id, train[1].id}
    # A later run over a few sessions does not hide the complete one.
    finish_run(known, run)
    few = start_run(known, "one", "train", "someone", RunSettings("smollm2", limit=1, seed=0))
    add_prediction(known, few, Prediction(train[2].id, (), None, 0.1))
    assert kdtui("sample", "create", *hard, "--replace").code == 0
    assert [row["id"] for row in kdtui("knowledge", "ls", "--sample", "hard", "--json").rows] == [
        row["id"] for row in rows
    ]


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--ratio", "0"], "above 0 and at most 1, not 0"),
        (["--ratio", "2"], "above 0 and at most 1, not 2"),
        (["--ratio", "nan"], "above 0 and at most 1"),
        (["--format", "idea"], "there is no format 'idea' here; there are: pattern, rule, thought"),
        (["-d", "three"], "there is no dataset 'three'"),
        (["--add-to", "nothing"], "there is no sample 'nothing'"),
    ],
)
def test_an_impossible_draw_is_reported(kdtui: Kdtui, arguments: list[str], problem: str) -> None:
    result = kdtui("sample", "create", "x", "-d", "one", *arguments)
    assert (result.code, result.out) == (1, "")
    assert problem in result.err
    assert kdtui("sample", "ls", "--json").rows == []


@pytest.mark.usefixtures("known")
def test_a_name_can_be_used_only_once(kdtui: Kdtui) -> None:
    assert kdtui("sample", "create", "x", "-d", "one").code == 0
    assert "exists already" in kdtui("sample", "create", "x", "-d", "one").err
    assert kdtui("sample", "create", "x", "-d", "one", "--replace").code == 0


def test_a_format_without_knowledge_says_so(db: Database, outdoor: Path, kdtui: Kdtui) -> None:
    list(import_dataset(db, outdoor, "bare"))
    advice = "kdtui knowledge mine --dataset bare, or kdtui knowledge distill --dataset bare"
    assert f"dataset 'bare' has no knowledge to draw from yet; make some with: {advice}" in (
        kdtui("sample", "create", "x").err
    )
    refused = kdtui("sample", "create", "x", "--format", "rule")
    assert "dataset 'bare' has no rules yet; find some with: kdtui knowledge distill --format rule" in refused.err


def test_a_pattern_comes_from_the_sessions_with_a_bundle_of_all_its_categories(
    db: Database, tmp_path: Path, kdtui: Kdtui
) -> None:
    def session(name: str, *bundles: str) -> str:
        items = [
            {"id": f"{name}{number}", "title": letter, "categories": [[letter]]}
            for number, letter in enumerate("".join(bundles))
        ]
        ids = iter(item["id"] for item in items)
        made = [{"items": [next(ids) for _ in bundle], "intent": "x"} for bundle in bundles]
        return json.dumps({"session": name, "items": items, "bundles": made, "split": "train"})

    # In the longest session, a and b are bundled, but not with each other.
    lines = [session("long", "ac", "bd"), *(session(f"s{number}", "ab") for number in range(6))]
    lines += [session(f"t{number}", "ac") for number in range(4)]
    (tmp_path / "made.jsonl").write_text("\n".join(lines), encoding="utf-8")
    assert kdtui("data", "import", tmp_path / "made.jsonl", "--dataset", "made").code == 0
    assert kdtui("knowledge", "mine", "--dataset", "made", "--level", 1, "--min-support", 0.3).code == 0
    patterns = find_knowledge(db, dataset="made", format="pattern")
    assert [each.statement.count("b") for each in patterns] == [1, 0], "the one of a and b has more support"
    assert kdtui("sample", "create", "x", "-d", "made", "--strategy", "longest", "--ratio", 0.5).code == 0
    assert pieces_of_sample(db, "x") == [patterns[1].id]
