"""Routers: they choose an adapter for each session, and the report says how much that gains."""

import json
import os
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from time import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdtui.distill.routing import (
    ALWAYS,
    cross_validate,
    cross_validate_best,
    fit_router,
    make_router,
    session_features,
    vote,
)
from kdtui.workflows.data.import_dataset import import_dataset
from store.records import Item, RunSettings, Session
from store.sqlite import Database
from tests.support.commands import Kdtui
from tests.support.tiny import WIDTH, make_adapter, make_model


def sessions(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features of which the first decides which of two routes is better, and the scores of three routes."""
    random = np.random.default_rng(seed)
    features = random.normal(size=(count, 4))
    first = np.clip(0.5 + 0.3 * np.sign(features[:, 0]) + random.normal(0, 0.1, count), 0, 1)
    scores = np.column_stack([first, 1 - first, np.full(count, 0.3)])
    return features, scores


def test_a_router_learns_which_route_suits_which_session() -> None:
    features, scores = sessions(90)
    assert cross_validate(features, scores).mean() > cross_validate_best(scores).mean() + 0.2
    fitted = fit_router(features, scores)
    assert fitted.penalty != ALWAYS
    chosen = fitted.chosen(features)
    assert ((chosen == 0) == (features[:, 0] > 0)).mean() > 0.9


@pytest.mark.parametrize("count", [20, 21, 25])
def test_a_router_learns_from_twenty_sessions_and_is_judged_as_it_learns(count: int) -> None:
    features, scores = sessions(count)
    fitted = fit_router(features, scores)
    assert fitted.penalty != ALWAYS
    assert cross_validate(features, scores).mean() > cross_validate_best(scores).mean() + 0.05


def test_with_fewer_than_twenty_sessions_a_router_takes_the_best_route_and_is_judged_so() -> None:
    features, scores = sessions(19)
    assert fit_router(features, scores).penalty == ALWAYS
    assert cross_validate(features, scores).tolist() == cross_validate_best(scores).tolist()


@pytest.mark.parametrize(
    ("count", "reason"),
    [
        (19, "19 sessions cannot show when another adapter is better"),
        (20, "no feature predicts when another adapter is better"),
    ],
)
def test_a_router_that_always_chooses_the_same_route_says_why(count: int, reason: str) -> None:
    routes = [(name, RunSettings("b", adapters=((name, 1.0),))) for name in ("one", "two")]
    fitted = fit_router(np.zeros((count, 1)), np.array([[1.0, 0.0]] * count))
    assert make_router(fitted, routes, ["f"], {}, ["a"], count).why_constant == reason


@pytest.mark.parametrize("seed", range(5))
def test_without_informative_features_a_router_loses_little(seed: int) -> None:
    random = np.random.default_rng(seed)
    features = random.normal(size=(90, 8))
    scores = np.clip(np.array([0.6, 0.55, 0.5]) + random.normal(0, 0.25, (90, 3)), 0, 1)
    assert cross_validate(features, scores).mean() > cross_validate_best(scores).mean() - 0.05


@given(count=st.integers(2, 40), routes=st.integers(2, 5), width=st.integers(1, 6), seed=st.integers(0, 2**32 - 1))
def test_any_scores_give_a_router_that_chooses_one_of_its_routes(
    count: int, routes: int, width: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    features, scores = random.normal(size=(count, width)), random.random((count, routes))
    names = [f"f{number}" for number in range(width)]
    settings = [(f"r{number}", RunSettings("b", adapters=((f"r{number}", 1.0),))) for number in range(routes)]
    fitted = fit_router(features, scores)
    router = make_router(fitted, settings, names, {}, ["a"], count)
    for row, chosen in zip(features, fitted.chosen(features), strict=True):
        choice = router.choose(dict(zip(names, row.tolist(), strict=True)))
        assert choice.route.name == f"r{chosen}"
        assert all(0 <= value <= 1 for value in choice.expected.values())
        assert choice.in_words.startswith(f"answered with r{chosen}")


def test_sessions_of_a_missing_route_go_to_the_best_remaining_one() -> None:
    features, scores = sessions(90)
    names = [f"f{number}" for number in range(4)]
    routes = [(name, RunSettings("b", adapters=((name, 1.0),))) for name in ("one", "two", "three")]
    router = make_router(fit_router(features, scores), routes, names, {}, ["a"], 90)
    session = dict(zip(names, (-2.0, 0.0, 0.0, 0.0), strict=True))
    assert router.choose(session).route.name == "two"
    # The first adapter scores .2 on such sessions, the third .3.
    assert router.choose(session, ["one", "three"]).route.name == "three"
    assert router.choose({**session, "f0": 2.0}, ["one", "three"]).route.name == "one"
    assert router.choose({**session, "f0": 2.0}, ["three"]).route.name == "three"


CENTRES = {"camping": (1.0, 0.0), "cooking": (0.0, 1.0)}


def features_near(dataset: str | None, vector: Sequence[float] | None) -> dict[str, float]:
    session = Session("s", (Item("tent"), Item("stove")), ())
    found = None if vector is None else np.array(vector, np.float32)
    return session_features(session, dataset, np.full((2, 2), 0.5), found, CENTRES)


def test_a_session_goes_to_the_adapter_of_its_dataset_or_of_the_most_similar_one() -> None:
    views = [features_near(dataset, None) for dataset in CENTRES for _ in range(20)]
    features = np.array([[*view.values()] for view in views])
    scores = np.array([[0.9, 0.2]] * 20 + [[0.3, 0.8]] * 20)
    routes = [(name, RunSettings("b", adapters=((name, 1.0),))) for name in ("tents", "pans")]
    router = make_router(fit_router(features, scores), routes, list(views[0]), CENTRES, list(CENTRES), 40)

    def chosen(dataset: str | None, vector: Sequence[float] | None) -> str:
        return router.choose(features_near(dataset, vector)).route.name

    assert chosen("camping", None) == "tents"
    assert chosen("cooking", None) == "pans"
    # The dataset counts, however similar a session of it is to the sessions of the other one.
    assert chosen("camping", (0.0, 1.0)) == "tents"
    for new in ("hiking", None):
        assert chosen(new, (0.8, 0.6)) == "tents"
        assert chosen(new, (0.6, 0.8)) == "pans"
    assert chosen("hiking", None) == router.routes[0].name, "the best on average, as nothing says which one is like it"
    assert "answered with pans: like cooking; expected" in router.choose(features_near("cooking", None)).in_words or (
        "answered with pans: unlike camping; expected" in router.choose(features_near("cooking", None)).in_words
    )


def test_a_vote_bundles_what_most_answers_bundle() -> None:
    answers = [[frozenset({1, 2}), frozenset({3, 4})], [frozenset({1, 2, 3})], [frozenset({1, 2}), frozenset({4, 5})]]
    assert vote(answers, 5) == [frozenset({1, 2})]
    # Half of the answers are not a majority.
    assert vote([[frozenset({1, 2})], []], 2) == []


@pytest.fixture
def adapters(db: Database, few: Path, tmp_path: Path) -> list[str]:
    """Two named adapters of a tiny model, and a few sessions."""
    from store.models import NamedModel, add_model

    list(import_dataset(db, few, "outdoor"))
    base = make_model(tmp_path / "tiny.gguf")
    add_model(db, NamedModel("tiny", base, "", made=False))
    for seed, name in enumerate(("one", "two"), start=1):
        path = make_adapter(tmp_path / f"{name}.gguf", seed=seed)
        add_model(db, NamedModel(name, path, "", made=False, kind="adapter"))
    return ["--adapter", "one", "--adapter", "two"]


def test_a_router_is_trained_and_answers_with_the_chosen_adapters(adapters: list[str], kdtui: Kdtui) -> None:
    trained = kdtui("router", "train", "both", *adapters, "--json")
    assert trained.code == 0, trained.err
    rows = {row["name"]: row for row in trained.rows}
    assert list(rows) == ["one", "two", "best single", "random", "vote by pair", "router", "oracle"]
    assert rows["oracle"]["mean"] >= rows["router"]["mean"] - 1e-9
    assert rows["one"]["chosen_for"] + rows["two"]["chosen_for"] == rows["router"]["sessions"]
    [listed] = kdtui("router", "ls", "--json").rows
    # It keeps the comparison that was printed after the training.
    assert [(each["name"], each["mean"], each["low"], each["high"]) for each in listed["validation"]] == [
        (name, row["mean"], row["low"], row["high"]) for name, row in rows.items()
    ]
    shown = kdtui("router", "show", "both")
    assert "on 2 validation sessions" in shown.out
    assert "oracle" in shown.out
    best = listed["routes"][0]["name"]
    [answer] = kdtui("generate", "o05", "--dataset", "outdoor", "--adapter", "routed:both", "--json").rows
    assert answer["adapter"]["name"] == best
    [alone] = kdtui("generate", "o05", "--dataset", "outdoor", "--student", "tiny", "--adapter", best, "--json").rows
    assert [each["positions"] for each in answer["bundles"]] == [each["positions"] for each in alone["bundles"]]
    shown = kdtui("generate", "o05", "--dataset", "outdoor", "--adapter", "routed:both", "--show-prompt")
    assert f"The router both chose: answered with {best}" in shown.out


def test_an_adapter_with_the_name_of_a_method_keeps_its_own_row(
    adapters: list[str], kdtui: Kdtui, db: Database, tmp_path: Path
) -> None:
    from store.models import NamedModel, add_model

    del adapters
    add_model(db, NamedModel("oracle", tmp_path / "two.gguf", "", made=False, kind="adapter"))
    trained = kdtui("router", "train", "both", "--adapter", "one", "--adapter", "oracle", "--json")
    assert trained.code == 0, trained.err
    names = ["one", "adapter oracle", "best single", "random", "vote by pair", "router", "oracle"]
    assert [row["name"] for row in trained.rows] == names
    assert [row["chosen_for"] is not None for row in trained.rows] == [True, True, *5 * [False]]
    [listed] = kdtui("router", "ls", "--json").rows
    assert [each["name"] for each in listed["validation"]] == names


def test_existing_answers_are_reused(adapters: list[str], kdtui: Kdtui) -> None:
    assert kdtui("router", "train", "first", *adapters).code == 0
    before = len(kdtui("run", "ls", "--json").rows)
    assert kdtui("router", "train", "second", *adapters).code == 0
    assert len(kdtui("run", "ls", "--json").rows) == before == 2


@pytest.mark.slow
def test_a_changed_adapter_is_asked_again(adapters: list[str], kdtui: Kdtui, tmp_path: Path) -> None:
    assert kdtui("router", "train", "first", *adapters).code == 0
    later = time() + 60
    os.utime(tmp_path / "two.gguf", (later, later))
    assert kdtui("router", "train", "second", *adapters).code == 0
    assert [row["adapters"][0][0] for row in kdtui("run", "ls", "--json").rows].count("two") == 2
    assert [row["adapters"][0][0] for row in kdtui("run", "ls", "--json").rows].count("one") == 1


@pytest.fixture
def shown_rules(adapters: list[str], db: Database, tmp_path: Path) -> list[str]:
    """The adapter `one`, and one that was trained with rules, of which there is one."""
    from store.knowledge import NewKnowledge, add_knowledge
    from store.models import NamedModel, add_model

    del adapters
    add_knowledge(db, "outdoor", "rule", "annotations", [NewKnowledge("Tents first", '{"text": "Tents first"}')])
    told = {"datasets": ["outdoor"], "form": "list", "knowledge": ["rule"]}
    path = make_adapter(tmp_path / "ruled.gguf", seed=2, manifest=told)
    add_model(db, NamedModel("ruled", path, "", made=False, kind="adapter"))
    return ["--adapter", "one", "--adapter", "ruled"]


def asked(kdtui: Kdtui) -> list[str]:
    """Names of the adapters of all runs."""
    return sorted(row["adapters"][0][0] for row in kdtui("run", "ls", "--json").rows)


def test_an_adapter_is_asked_again_with_newer_knowledge(
    shown_rules: list[str], kdtui: Kdtui, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    from store.knowledge import NewKnowledge, add_knowledge

    trained = kdtui("router", "train", "first", *shown_rules)
    assert trained.code == 0, trained.err
    monkeypatch.setattr("store.knowledge.now", lambda: "2100-01-01T00:00:00+00:00")
    content = '{"text": "Lamps first"}'
    add_knowledge(db, "outdoor", "rule", "annotations", [NewKnowledge("Lamps first", content, rejected="too short")])
    add_knowledge(db, "outdoor", "pattern", "annotations", [NewKnowledge("Lamps with mats", content)])
    assert kdtui("router", "train", "second", *shown_rules).code == 0
    assert asked(kdtui) == ["one", "ruled"], "its prompts show no patterns and no rejected rules"
    add_knowledge(db, "outdoor", "rule", "annotations", [NewKnowledge("Mats first", '{"text": "Mats first"}')])
    assert kdtui("router", "train", "third", *shown_rules).code == 0
    assert asked(kdtui) == ["one", "ruled", "ruled"]


def test_an_adapter_is_asked_again_with_a_newer_sample(
    shown_rules: list[str], kdtui: Kdtui, db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from store.samples import save_sample

    told = {"datasets": ["outdoor"], "form": "list", "knowledge": ["rule"], "sample": "half"}
    make_adapter(tmp_path / "ruled.gguf", seed=2, manifest=told)
    save_sample(db, "half", [], [1], replace=False)
    assert kdtui("router", "train", "first", *shown_rules).code == 0
    monkeypatch.setattr("store.samples.now", lambda: "2100-01-01T00:00:00+00:00")
    save_sample(db, "half", [], [1], replace=True)
    assert kdtui("router", "train", "second", *shown_rules).code == 0
    assert asked(kdtui) == ["one", "ruled", "ruled"]


def test_deleting_an_adapter_names_its_routers_and_datasets(routed: None, kdtui: Kdtui, db: Database) -> None:
    from store.default_adapters import set_default_adapter

    del routed
    set_default_adapter(db, "outdoor", "one")
    uses = "used by 1 router, the default adapter of outdoor, which the shipped student answers from then on"
    result = kdtui("model", "rm", "one")
    assert (result.code, uses in result.err) == (1, True)
    result = kdtui("model", "rm", "one", "--yes")
    assert (result.code, uses in result.err) == (0, True)


@pytest.mark.slow
def test_a_router_is_compared_on_unseen_sessions(adapters: list[str], kdtui: Kdtui) -> None:
    assert kdtui("router", "train", "both", *adapters).code == 0
    compared = kdtui("router", "compare", "both", "--split", "test", "--json")
    assert compared.code == 0, compared.err
    rows = {row["name"]: row for row in compared.rows}
    routed = kdtui("evaluate", "--adapter", "routed:both", "--split", "test", "--json")
    assert routed.code == 0, routed.err
    [run] = [row for row in routed.rows if "routed:both" in row["name"]]
    assert run["pair_f1"] == pytest.approx(rows["router"]["mean"])
    refused = kdtui("router", "compare", "both", "--split", "valid")
    assert refused.code == 1
    assert "was fitted to the validation sessions of outdoor" in refused.err


@pytest.mark.slow
def test_a_router_of_several_datasets_recognizes_the_dataset_of_a_session(
    adapters: list[str], kdtui: Kdtui, db: Database, tmp_path: Path
) -> None:
    from kdtui.workflows.student.pair_evidence import open_pattern_student
    from kdtui.workflows.student.routed import features_of
    from store.sessions import draw_sessions

    kitchen = tmp_path / "kitchen.jsonl"
    whole = (files("kdtui") / "demo_data" / "kitchen.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    kitchen.write_text("".join(line for line in whole if '"split":"valid"' in line.replace(" ", "")), encoding="utf-8")
    list(import_dataset(db, kitchen, "kitchen"))
    datasets = ["--dataset", "outdoor", "--dataset", "kitchen"]
    trained = kdtui("router", "train", "domains", *datasets, *adapters, "--json")
    assert trained.code == 0, trained.err
    [router] = kdtui("router", "ls", "--json").rows
    assert router["datasets"] == ["outdoor", "kitchen"]
    for dataset, other in (("outdoor", "kitchen"), ("kitchen", "outdoor")):
        with open_pattern_student(db, None, print) as patterns:
            for session in draw_sessions(db, dataset, "valid", 10):
                found = features_of(patterns, session, None, router["centres"])
                assert (found[f"like {dataset}"], found[f"like {other}"]) == (1.0, 0.0)
                found = features_of(patterns, session, other, router["centres"])
                assert (found[f"like {dataset}"], found[f"like {other}"]) == (0.0, 1.0)
    known = kdtui("generate", "o05", "--dataset", "outdoor", "--adapter", "routed:domains")
    assert "was not fitted on" not in known.err


def test_a_router_says_that_it_does_not_know_a_dataset(adapters: list[str], kdtui: Kdtui, db: Database) -> None:
    assert kdtui("router", "train", "both", *adapters).code == 0
    list(import_dataset(db, Path(str(files("kdtui") / "demo_data" / "kitchen.jsonl")), "kitchen"))
    result = kdtui("generate", "k01", "--dataset", "kitchen", "--adapter", "routed:both", "--json")
    assert result.code == 0, result.err
    assert "router 'both' was not fitted on kitchen; it chooses by what it learned from outdoor" in result.err
    assert result.rows[0]["bundles"]


def test_adapters_of_different_bases_cannot_share_a_router(
    adapters: list[str], kdtui: Kdtui, db: Database, tmp_path: Path
) -> None:
    from store.models import NamedModel, add_model

    del adapters
    add_model(db, NamedModel("wide", make_model(tmp_path / "wide.gguf", width=2 * WIDTH), "", made=False))
    path = make_adapter(tmp_path / "far.gguf", width=2 * WIDTH)
    add_model(db, NamedModel("far", path, "", made=False, kind="adapter"))
    result = kdtui("router", "train", "x", "--adapter", "one", "--adapter", "far")
    assert result.code == 1
    assert "adapters of different bases cannot share a router: 'one' is for" in result.err


def test_a_missing_adapter_is_left_out(adapters: list[str], kdtui: Kdtui, tmp_path: Path) -> None:
    assert kdtui("router", "train", "both", *adapters).code == 0
    [listed] = kdtui("router", "ls", "--json").rows
    best, other = (route["name"] for route in listed["routes"])
    (tmp_path / f"{best}.gguf").unlink()
    result = kdtui("generate", "o05", "--dataset", "outdoor", "--adapter", "routed:both", "--json")
    assert result.code == 0, result.err
    assert f"lacks {best}" in result.err
    assert result.rows[0]["adapter"]["name"] == other
    (tmp_path / f"{other}.gguf").unlink()
    result = kdtui("generate", "o05", "--dataset", "outdoor", "--adapter", "routed:both")
    assert result.code == 1
    assert "none of its adapters is available" in result.err


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["router", "train", "x", "--adapter", "one"], "give --adapter twice or more"),
        (["router", "train", "x", "--adapter", "one", "--adapter", "nobody"], "there is no adapter 'nobody'"),
        (["router", "train", "x", "--adapter", "one", "--adapter", "shipped"], "in the form intents"),
        (["router", "train", "a/b", "--adapter", "one", "--adapter", "two"], "cannot be a name"),
        (["router", "train", "both", "--adapter", "one", "--adapter", "two"], "there is a router 'both' already"),
        (["router", "train", "x", "--adapter", "one", "--adapter", "routed:both"], "is a router itself"),
        (["router", "show", "bath"], "there is no router 'bath'; did you mean 'both'?"),
        (["generate", "o05", "--adapter", "routed:bath"], "there is no router 'bath'"),
        (["generate", "o05", "--adapter", "routed:both=2"], "leave out other --adapter options, and the scale"),
        (["generate", "o05", "--adapter", "routed:both", "--adapter", "one"], "leave out other --adapter options"),
        (["generate", "o05", "--adapter", "routed:both", "--knowledge", "pattern"], "leave out --knowledge"),
        (["generate", "o05", "--adapter", "routed:both", "--strategy", "pairs"], "leave out --strategy"),
        (["generate", "o05", "--adapter", "routed:both", "--student", "smollm2"], "are for tiny, not for smollm2"),
        (["calibrate", "--student", "tiny", "--adapter", "routed:both"], "there is no strategy to choose"),
    ],
)
def test_an_impossible_router_is_refused(routed: None, kdtui: Kdtui, command: Sequence[str], message: str) -> None:
    del routed
    result = kdtui(*command)
    assert result.code == 1
    assert message in result.err


@pytest.fixture
def routed(adapters: list[str], kdtui: Kdtui, db: Database) -> None:
    """A stored router."""
    from kdtui.workflows.adapters.routers import routes_of
    from store.routers import save_router

    del kdtui
    assert adapters
    fitted = fit_router(np.zeros((2, 1)), np.array([[1.0, 0.0], [1.0, 0.0]]))
    router = make_router(fitted, routes_of(db, ["one", "two"]), ["ln(products)"], {}, ["outdoor"], 2)
    import msgspec

    save_router(db, "both", msgspec.json.encode(router).decode())


def test_a_router_is_deleted_and_its_adapters_stay(routed: None, kdtui: Kdtui) -> None:
    del routed
    assert kdtui("router", "rm", "both", "--yes").code == 0
    assert kdtui("router", "ls", "--json").rows == []
    assert {"one", "two"} <= {row["name"] for row in kdtui("model", "ls", "--json").rows}


def test_an_unreadable_router_says_what_to_do(kdtui: Kdtui, db: Database) -> None:
    from store.routers import save_router

    save_router(db, "broken", json.dumps({"routes": 7}))
    result = kdtui("router", "show", "broken")
    assert result.code == 1
    assert "delete it with: kdtui router rm broken" in result.err


@pytest.mark.usefixtures("routed")
@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"mean": {"size": 1.0}, "spread": {"size": 1.0}}, "its mean, spread and weights are of different features"),
        ({"mean": {"ln(products)": 1.0, "size": 1.0}, "spread": {"ln(products)": 1.0, "size": 1.0}}, "feature 'size'"),
        ({"spread": {"ln(products)": 0.0}}, "the spread of a feature must be above 0"),
        ({"centres": {"outdoor": [1.0, 0.0]}}, "its centre of 'outdoor' has 2 dimensions, and must have 384"),
    ],
)
def test_a_router_that_cannot_choose_says_what_to_do(
    kdtui: Kdtui, db: Database, values: dict[str, object], problem: str
) -> None:
    from store.routers import get_router, save_router

    content = json.loads(get_router(db, "both").content) | values
    save_router(db, "both", json.dumps(content), replace=True)
    result = kdtui("generate", "o05", "--dataset", "outdoor", "--adapter", "routed:both")
    assert result.code == 1
    assert "router 'both' cannot be used (" in result.err
    assert f"{problem}); delete it with: kdtui router rm both, and train it again" in result.err
