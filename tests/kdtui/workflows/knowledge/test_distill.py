"""Rules and thoughts composed from annotated bundles: stored with their sources and their measures."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdtui.distill.annotations import compose_thought, derive_rules
from kdtui.distill.rules import ConsolidatedRule, Rule, applies_to, consolidate, try_rules
from kdtui.distill.thoughts import AGREEMENT, Step, Thought, rejection_reason
from kdtui.workflows.data.import_dataset import import_dataset
from kdtui.workflows.knowledge.distill import distill_annotations
from store.knowledge import find_knowledge, sessions_of_piece
from store.records import Bundle, Item, Session
from store.sqlite import Database
from tests.support.commands import Kdtui

A, B, C = ("Shop", "Outdoor", "Tents"), ("Shop", "Outdoor", "Mats"), ("Shop", "Kitchen", "Pans")


def session(
    categories: list[tuple[str, ...]], *bundles: tuple[int, ...], name: str = "s", intent: str = "x"
) -> Session:
    items = tuple(Item(f"{name}-{number}", f"thing {number}", (path,)) for number, path in enumerate(categories))
    return Session(name, items, tuple(Bundle(bundle, intent) for bundle in bundles), "train")


@pytest.fixture
def distilled(db: Database, outdoor: Path) -> Database:
    list(import_dataset(db, outdoor, "outdoor"))
    list(distill_annotations(db, "outdoor", ["rule", "thought"]))
    return db


def test_bundles_give_rules_to_put_together_and_to_leave_apart() -> None:
    rules = list(derive_rules(session([A, B, C], (1, 2), intent='"a night outside".')))
    assert [(rule.text, rule.together, rule.intents) for rule in rules] == [
        ("Put Outdoor > Mats together with Outdoor > Tents", True, ("a night outside",)),
        ("Leave Kitchen > Pans apart from Outdoor > Mats", False, ()),
        ("Leave Kitchen > Pans apart from Outdoor > Tents", False, ()),
    ]


def test_a_contradictory_session_gives_no_rule() -> None:
    assert list(derive_rules(session([A, A, A], (1, 2)))) == []
    # A department by itself says too little, and so does a missing category.
    assert list(derive_rules(session([("Shop", "Outdoor"), A], (1, 2)))) == []
    assert list(derive_rules(Session("s", (Item("x"), Item("y")), (Bundle((1, 2)),)))) == []


def test_rules_for_a_model_are_about_its_errors() -> None:
    annotated = session([A, B, C], (1, 2))
    assert list(derive_rules(annotated, [frozenset({1, 2})])) == []
    missed = list(derive_rules(annotated, [frozenset({2, 3})]))
    assert [(rule.together, rule.categories) for rule in missed] == [(True, (B, A)), (False, (C, B))]


def test_equal_rules_are_merged_with_all_their_sessions() -> None:
    one, other = (
        Rule("Put A with B", True, (A, B), ("kit",)),
        Rule("B and A belong together", True, (A, B), ("set", "kit")),
    )
    words = Rule("Never bundle two phones of one brand in a session")
    again = Rule("never bundle two phones of one brand, in a session!")
    merged = consolidate([(one, "s1"), (words, "s1"), (other, "s2"), (again, "s3"), (one, "s2")])
    assert [(each.rule.text, each.sessions) for each in merged] == [
        ("Put A with B", ("s1", "s2")),
        ("Never bundle two phones of one brand in a session", ("s1", "s3")),
    ]
    assert merged[0].rule.intents == ("kit", "set")
    assert len(consolidate([(Rule("a", True, (A, B)), "s"), (Rule("a", False, (A, B)), "s")])) == 2


def test_a_rule_of_one_session_is_tested_on_the_others() -> None:
    sessions = [
        session([A, B], (1, 2), name="own"),
        session([A, B, C], (1, 2), name="right"),
        session([A, B, A], (1, 2), name="half"),
        session([A, C], (1, 2), name="other"),
    ]
    [trial] = try_rules([ConsolidatedRule(Rule("x", True, (A, B)), ("own",))], sessions)
    assert (trial.sessions, trial.applies, trial.right) == (3, 2, 1)
    assert trial.support == pytest.approx(2 / 3)
    assert trial.precision == 0.5
    [nothing] = try_rules([ConsolidatedRule(Rule("says something else"), ("own",))], sessions)
    assert (nothing.support, nothing.precision) == (0.0, None)


CATEGORIES = st.sampled_from([A, B, C, ("Shop",), ("Shop", "Outdoor")])


@given(st.lists(st.lists(st.sampled_from([A, B, C]), min_size=2, max_size=4), max_size=6), st.integers(1, 3), st.data())
def test_a_session_tests_the_rules_that_are_found_without_it(
    products: list[list[tuple[str, ...]]], least: int, data: st.DataObject
) -> None:
    sessions = []
    for number, categories in enumerate(products):
        bundle = data.draw(st.sets(st.integers(1, len(categories)), min_size=2))
        sessions.append(session(categories, tuple(sorted(bundle)), name=f"s{number}", intent=""))
    rules_of = {each.id: list(derive_rules(each)) for each in sessions}
    found = consolidate([(rule, name) for name, rules in rules_of.items() for rule in rules])
    for each, trial in zip(found, try_rules(found, sessions, least), strict=True):
        if len(each.sessions) < least:
            continue
        tests = [
            tested
            for tested in sessions
            if sum(each.rule in rules for name, rules in rules_of.items() if name != tested.id) >= least
        ]
        about = [tested for tested in tests if applies_to(each.rule, tested)]
        right = [tested for tested in about if each.rule in rules_of[tested.id]]
        assert (trial.sessions, trial.applies, trial.right) == (len(tests), len(about), len(right))


@given(st.lists(CATEGORIES, min_size=2, max_size=8), CATEGORIES, CATEGORIES)
def test_a_rule_is_about_pairs_of_different_products(
    categories: list[tuple[str, ...]], one: tuple[str, ...], other: tuple[str, ...]
) -> None:
    found = applies_to(Rule("x", True, (one, other)), session(categories))
    assert all(1 <= a < b <= len(categories) for a, b in found)
    assert list(found) == sorted(set(found))
    for a, b in found:
        paths = [categories[a - 1], categories[b - 1]]
        assert any(
            first[: len(one)] == one and second[: len(other)] == other for first, second in (paths, reversed(paths))
        )


def test_a_thought_goes_from_products_to_intents_to_bundles() -> None:
    annotated = session([A, B, C], (1, 2), intent="camping")
    thought = compose_thought(annotated, annotated.bundles)
    assert thought.statement == (
        "Products: 1. thing 0 [Tents]; 2. thing 1 [Mats]; 3. thing 2 [Pans]. "
        "Shoppers want camping: 1,2, because Tents and Mats complement each other. 3 fit no bundle."
    )


def test_a_thought_with_wrong_bundles_is_rejected_with_the_reason() -> None:
    annotated = session([A, B, C], (1, 2))
    assert rejection_reason(Thought((), (Step((1, 2), "x", "y"),)), annotated) is None
    reason = rejection_reason(Thought((), (Step((2, 3), "x", "y"),)), annotated)
    assert reason is not None
    assert f"{AGREEMENT:g} is needed" in reason
    assert rejection_reason(Thought((), ()), annotated) is not None


def test_stored_pieces_have_their_sources(distilled: Database) -> None:
    thoughts = find_knowledge(distilled, dataset="outdoor", format="thought")
    rules = find_knowledge(distilled, dataset="outdoor", format="rule")
    rejected = find_knowledge(distilled, dataset="outdoor", format="rule", status="rejected")
    assert thoughts
    assert rules
    assert all(len(sessions_of_piece(distilled, thought.id)) == 1 for thought in thoughts)
    assert all(len(sessions_of_piece(distilled, rule.id)) > 1 for rule in rules)
    assert all(rule.precision is None or rule.precision >= 0.5 for rule in rules)
    assert all(rule.reason for rule in rejected)
    assert {piece.teacher for piece in (*thoughts, *rules, *rejected)} == {"annotations"}


def test_distilling_again_changes_nothing(distilled: Database) -> None:
    before = find_knowledge(distilled)
    list(distill_annotations(distilled, "outdoor", ["rule", "thought"]))
    assert find_knowledge(distilled) == before


@pytest.mark.usefixtures("distilled")
def test_the_command_reports_kept_and_rejected_pieces(kdtui: Kdtui) -> None:
    result = kdtui("knowledge", "distill", "--format", "rule")
    assert result.code == 0
    assert "rules of dataset outdoor, and rejected" in result.err
    rejected = kdtui("knowledge", "ls", "--rejected", "--json").rows
    assert all(row["status"] == "rejected" and row["reason"] for row in rejected)
    assert "2 are needed" in kdtui("knowledge", "ls", "--rejected").out


@pytest.mark.parametrize(
    ("format", "hint"),
    [
        ("pattern", "patterns are mined, with kdtui knowledge mine"),
        ("", "there are: rule, thought, "),
        ("rule,rulez", "did you mean 'rule'?"),
    ],
)
def test_a_format_that_cannot_be_distilled_is_reported(kdtui: Kdtui, format: str, hint: str) -> None:
    result = kdtui("knowledge", "distill", "--format", format)
    assert (result.code, result.out) == (1, "")
    assert hint in result.err


def test_show_prints_the_tree(distilled: Database, kdtui: Kdtui) -> None:
    rule = find_knowledge(distilled, format="rule")[0]
    lines = kdtui("knowledge", "show", rule.id).out.splitlines()
    tree = lines[lines.index(f"rule {rule.id} comes from") :]
    assert tree[1] == "├── teacher annotations"
    assert any(line.startswith(("├── session o", "└── session o")) for line in tree)
    assert kdtui("knowledge", "show", rule.id, "--json").rows[0]["sessions"] == sessions_of_piece(distilled, rule.id)


def test_hostile_titles_and_intents_stay_text(db: Database, tmp_path: Path, kdtui: Kdtui) -> None:
    items = [{"id": str(n), "title": f"\x1b[31m[b]{n}", "categories": [["S", "\x1b[2J", "[red]x"]]} for n in range(3)]
    path = tmp_path / "hostile.jsonl"
    bundles = [{"items": ["0", "1", "2"], "intent": "\x1b[5m"}]
    lines = [{"session": f"s{n}", "items": items, "bundles": bundles, "split": "train"} for n in "12"]
    path.write_text("\n".join(map(json.dumps, lines)))
    list(import_dataset(db, path, "d"))
    assert kdtui("knowledge", "distill").code == 0
    for command in (
        ["ls"],
        ["ls", "--rejected"],
        ["show", find_knowledge(db)[0].id],
        ["for", "s1", "--knowledge", "rule"],
    ):
        result = kdtui("knowledge", *command)
        assert result.code == 0, result.err
        assert "\x1b" not in result.out + result.err


@pytest.mark.slow
def test_a_local_student_can_teach(db: Database, outdoor: Path, kdtui: Kdtui) -> None:
    list(import_dataset(db, outdoor, "outdoor"))
    distil = ["knowledge", "distill", "--teacher", "smollm2", "--limit", 2, "--json"]
    result = kdtui(*distil)
    assert result.code == 0, result.err
    assert [row["format"] for row in result.rows] == ["rule", "thought"]
    assert result.rows[1]["kept"] + result.rows[1]["rejected"] == 2
    assert {row["teacher"] for row in kdtui("knowledge", "ls", "--rejected", "--json").rows} == {"smollm2"}
    # Its answers are cached: the second time, nothing is asked.
    assert db.execute("SELECT count(*) FROM predictions").fetchone() == (2,)
    assert kdtui(*distil).rows == [row | {"new": 0} for row in result.rows]
    assert db.execute("SELECT count(*) FROM predictions").fetchone() == (2,)
    assert kdtui("knowledge", "distill", "--teacher", "smollm2", "--dry-run").code == 1


def test_the_pattern_student_can_teach(db: Database, outdoor: Path, kdtui: Kdtui) -> None:
    list(import_dataset(db, outdoor, "outdoor"))
    result = kdtui("knowledge", "distill", "--teacher", "patterns", "--json", "--format", "thought")
    assert result.code == 0, result.err
    assert result.rows[0]["kept"] > 0


def test_an_unknown_teacher_is_refused(db: Database, outdoor: Path, kdtui: Kdtui) -> None:
    list(import_dataset(db, outdoor, "outdoor"))
    result = kdtui("knowledge", "distill", "--teacher", "nobody")
    assert result.code == 1
    assert "there is no student 'nobody'" in result.err
    assert db.execute("SELECT count(*) FROM runs").fetchone() == (0,)
