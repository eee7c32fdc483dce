"""What a training was worth: its answers compared with earlier ones, and the new default of its datasets."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kdtui.bundling.truth import true_bundles
from kdtui.workflows.data.import_dataset import import_dataset
from kdtui.workflows.finish_jobs import finish_job
from kdtui.workflows.training.find_outcome import find_outcome
from kdtui.workflows.training.outcome import Outcome
from models.sft.job_files import ANSWERS
from store.default_adapters import default_adapters, set_default_adapter
from store.jobs import get_job
from store.records import RunSettings, Session
from store.sqlite import Database
from tests.support.commands import Kdtui
from tests.support.done_trainings import Answer, AnswerOf, named, right, trained, unnamed, wrong


@pytest.fixture
def outdoor_store(db: Database, outdoor: Path) -> Database:
    """The demo sessions of outdoor products, as the dataset `outdoor`."""
    list(import_dataset(db, outdoor, "outdoor"))
    return db


def outcome(db: Database, name: str) -> Outcome:
    found = find_outcome(db, finish_job(db, name))
    assert found is not None
    return found


def test_a_training_that_answers_better_has_helped_and_shows_its_numbers(
    outdoor_store: Database, tmp_path: Path, kdtui: Kdtui
) -> None:
    trained(outdoor_store, tmp_path, "good", wrong, right)
    found = outcome(outdoor_store, "good")
    assert (found.verdict, found.sessions, found.value, found.source.value) == ("helped", 22, 1.0, 0.0)
    assert found.in_words[0] == (
        "the training helped on 22 validation sessions: pair F1 1.000, tiny.gguf untrained 0.000: "
        "+1.000 [+1.000, +1.000]; the interval is wide with so few"
    )
    assert {each.name for each in found.floors} >= {"whole session", "category 1", "patterns"}
    assert "it is above the best floor (" in found.in_words[1]
    [row] = kdtui("sft", "show", "good", "--json").rows
    assert (row["outcome"]["verdict"], row["default_of"]) == ("helped", ["outdoor"])
    assert "the training helped on 22 validation sessions" in " ".join(kdtui("sft", "show", "good").out.split())


def test_a_training_that_answers_worse_made_it_worse_and_the_default_stays(
    outdoor_store: Database, tmp_path: Path
) -> None:
    trained(outdoor_store, tmp_path, "bad", right, wrong, began_from="other")
    found = outcome(outdoor_store, "bad")
    assert found.verdict == "made it worse"
    assert "other 1.000: -1.000 [-1.000, -1.000]" in found.in_words[0]
    assert default_adapters(outdoor_store) == {}
    assert found.in_words[-1] == "shipped stays the default of outdoor"


def test_what_chance_explains_is_no_difference(outdoor_store: Database, tmp_path: Path) -> None:
    def now_and_then(odd: int) -> AnswerOf:
        return lambda session: (right if int(session.id[1:]) % 2 == odd else wrong)(session)

    trained(outdoor_store, tmp_path, "same", now_and_then(0), now_and_then(1))
    found = outcome(outdoor_store, "same")
    assert found.verdict == "no difference"
    assert found.in_words[0].startswith("no difference that 22 validation sessions can show: pair F1 0.500, ")


def test_few_sessions_show_nothing_however_they_agree(outdoor_store: Database, tmp_path: Path) -> None:
    trained(outdoor_store, tmp_path, "few", wrong, right, sessions=4)
    found = outcome(outdoor_store, "few")
    assert found.verdict == "too few sessions"
    assert "4 validation sessions cannot show whether the training helped, and 6 or more can" in found.in_words[0]
    assert default_adapters(outdoor_store) == {}


def test_intents_are_compared_with_those_of_the_source_and_of_the_floors(
    outdoor_store: Database, tmp_path: Path
) -> None:
    trained(outdoor_store, tmp_path, "names", unnamed, named, form="intents", began_from="shipped")
    found = outcome(outdoor_store, "names")
    assert (found.measure, found.verdict, found.value) == ("intent_f1", "helped", 1.0)
    assert {each.name for each in found.floors} == {"category", "nearest"}
    assert default_adapters(outdoor_store) == {"outdoor": "names"}


def test_an_adapter_with_the_name_of_a_floor_is_compared_as_the_source(outdoor_store: Database, tmp_path: Path) -> None:
    trained(outdoor_store, tmp_path, "names", unnamed, named, form="intents", began_from="nearest")
    found = outcome(outdoor_store, "names")
    assert (found.verdict, found.source.name, found.source.value) == ("helped", "nearest", 0.0)
    floors = {each.name: each.value for each in found.floors}
    assert floors.keys() == {"category", "nearest"}
    assert floors["nearest"] > 0


def with_loss(answer: AnswerOf, loss: Callable[[Session], float]) -> AnswerOf:
    return lambda session: {**answer(session), "loss": loss(session)}


def low(session: Session) -> float:
    return 2.0 + len(session.items) / 100


def high(session: Session) -> float:
    return 2.5 + len(session.items) / 50


def test_a_few_sessions_show_by_the_loss_that_a_training_helped(outdoor_store: Database, tmp_path: Path) -> None:
    trained(
        outdoor_store,
        tmp_path,
        "learned",
        with_loss(unnamed, high),
        with_loss(unnamed, low),
        form="intents",
        began_from="shipped",
        sessions=8,
    )
    found = outcome(outdoor_store, "learned")
    assert found.verdict == "helped"
    assert re.fullmatch(
        r"the training helped on 8 validation sessions: validation loss 2\.\d+, shipped 2\.\d+: -0\.\d+ \[-.*, -.*\]",
        found.in_words[0],
    )
    assert found.in_words[1].startswith("they show no difference of the answers: token F1 of intents 0.000, shipped ")
    assert default_adapters(outdoor_store) == {"outdoor": "learned"}


def test_a_higher_loss_made_it_worse_unless_the_answers_got_better(outdoor_store: Database, tmp_path: Path) -> None:
    worse = with_loss(unnamed, low), with_loss(unnamed, high)
    trained(outdoor_store, tmp_path, "forgot", *worse, form="intents", began_from="shipped")
    assert outcome(outdoor_store, "forgot").verdict == "made it worse"
    assert default_adapters(outdoor_store) == {}
    better = with_loss(unnamed, low), with_loss(named, high)
    trained(outdoor_store, tmp_path, "names", *better, form="intents", began_from="shipped")
    found = outcome(outdoor_store, "names")
    assert found.verdict == "helped"
    assert found.in_words[0].startswith("the training helped on 22 validation sessions: token F1 of intents 1.000, ")
    assert found.in_words[1].startswith("validation loss ")


def test_a_lower_loss_than_that_of_the_base_alone_shows_nothing(outdoor_store: Database, tmp_path: Path) -> None:
    """The base alone does not know the form of an answer, so the first steps lower the loss."""
    learned = with_loss(unnamed, high), with_loss(unnamed, low)
    trained(outdoor_store, tmp_path, "form", *learned, form="intents")
    found = outcome(outdoor_store, "form")
    assert (found.verdict, found.loss) == ("no difference", None)


def test_a_source_that_was_trained_otherwise_has_no_loss_to_compare(outdoor_store: Database, tmp_path: Path) -> None:
    """The shipped adapter writes intents, and has not learned the form of lists."""
    learned = with_loss(wrong, high), with_loss(wrong, low)
    trained(outdoor_store, tmp_path, "lists", *learned, form="list", began_from="shipped")
    assert outcome(outdoor_store, "lists").loss is None
    trained(outdoor_store, tmp_path, "gone", *learned, form="list", began_from="deleted")
    assert outcome(outdoor_store, "gone").loss is None


def test_answers_without_a_loss_are_compared_without_it(outdoor_store: Database, tmp_path: Path) -> None:
    """Earlier trainers did not store it."""
    trained(outdoor_store, tmp_path, "old", unnamed, unnamed, form="intents", began_from="shipped")
    found = outcome(outdoor_store, "old")
    assert (found.verdict, found.loss) == ("no difference", None)


def test_intents_do_not_replace_a_default_that_they_were_not_compared_with(
    outdoor_store: Database, tmp_path: Path
) -> None:
    trained(outdoor_store, tmp_path, "first", unnamed, named, form="intents", began_from="shipped")
    outcome(outdoor_store, "first")
    # It is as good, but not better.
    trained(outdoor_store, tmp_path, "second", unnamed, named, form="intents", began_from="shipped")
    assert "first stays the default of outdoor" in outcome(outdoor_store, "second").in_words
    assert default_adapters(outdoor_store) == {"outdoor": "first"}
    trained(outdoor_store, tmp_path, "third", unnamed, named, form="intents")
    set_default_adapter(outdoor_store, "outdoor", None)
    assert "shipped stays the default of outdoor" in outcome(outdoor_store, "third").in_words


def test_pairs_are_judged_by_a_threshold_that_other_sessions_choose(outdoor_store: Database, tmp_path: Path) -> None:
    def scored(session: Session, margin: float) -> Answer:
        bundled = [{*bundle} for bundle in true_bundles(session)]
        pairs = [(a, b) for a in range(1, len(session.items) + 1) for b in range(a + 1, len(session.items) + 1)]
        return {"pairs": [[a, b, margin if any({a, b} <= each for each in bundled) else -1.5] for a, b in pairs]}

    # Both scores are low, but they distinguish the pairs.
    trained(
        outdoor_store, tmp_path, "low", lambda each: scored(each, -1.5), lambda each: scored(each, -1.0), form="pairs"
    )
    found = outcome(outdoor_store, "low")
    assert found.value == 1.0
    assert found.verdict == "helped"


def test_an_outcome_is_computed_once_and_an_unset_default_stays_unset(outdoor_store: Database, tmp_path: Path) -> None:
    trained(outdoor_store, tmp_path, "good", wrong, right)
    first = outcome(outdoor_store, "good")
    set_default_adapter(outdoor_store, "outdoor", None)
    assert outcome(outdoor_store, "good") == first
    assert default_adapters(outdoor_store) == {}


@pytest.mark.parametrize(
    "broken",
    [
        "",
        "nothing\n[]\n{}\n",
        '{"session": "gone", "before": {}, "after": {}}\n',
        '{"session": "o01", "before": {"pairs": [1]}, "after": {"pairs": [[1, 2, "x"]]}}\n',
        '{"session": "o01", "before": {"bundles": [1]}, "after": {"bundles": [[{}]]}}\n',
        '{"session": "o01", "dataset": ["outdoor"], "before": {"bundles": []}, "after": {"bundles": []}}\n',
        '{"session": "o01", "before": {"bundles": [], "loss": "2.5"}, "after": {"bundles": [], "loss": NaN}}\n',
        f'{{"session": "o01", "before": {"[" * 100_000}\n',
    ],
    ids=["empty", "no answers", "another session", "pairs", "bundles", "dataset", "loss", "deep"],
)
def test_unreadable_answers_give_no_outcome(outdoor_store: Database, tmp_path: Path, kdtui: Kdtui, broken: str) -> None:
    trained(outdoor_store, tmp_path, "cut", wrong, right)
    (get_job(outdoor_store, "cut").folder / "adapter" / ANSWERS).write_text(broken)
    assert find_outcome(outdoor_store, finish_job(outdoor_store, "cut")) is None
    assert kdtui("sft", "show", "cut", "--json").rows[0]["outcome"] is None


def test_a_training_without_answers_has_no_outcome(outdoor_store: Database, tmp_path: Path) -> None:
    trained(outdoor_store, tmp_path, "old", wrong, right)
    (get_job(outdoor_store, "old").folder / "adapter" / ANSWERS).unlink()
    assert find_outcome(outdoor_store, finish_job(outdoor_store, "old")) is None


@pytest.fixture
def writer(outdoor_store: Database, tmp_path: Path) -> str:
    """A training of intents that helped."""
    trained(outdoor_store, tmp_path, "names", unnamed, named, form="intents", began_from="shipped")
    outcome(outdoor_store, "names")
    return "names"


def test_a_default_is_listed_set_and_unset(writer: str, outdoor_store: Database, kdtui: Kdtui) -> None:
    assert kdtui("sft", "default", "--json").rows == [{"dataset": "outdoor", "adapter": writer}]
    defaults = {row["name"]: row["default_for"] for row in kdtui("model", "ls", "--json").rows}
    assert {name: datasets for name, datasets in defaults.items() if datasets} == {writer: ["outdoor"]}
    assert re.search(r"default for +outdoor", kdtui("model", "show", writer).out)
    result = kdtui("sft", "default", "--none", "--dataset", "outdoor")
    assert (result.code, result.out) == (0, "")
    assert f"{writer} is no longer the default adapter of outdoor" in result.err
    assert "the shipped student answers all of them" in kdtui("sft", "default").err
    assert "has no default adapter" in kdtui("sft", "default", "--none", "--dataset", "outdoor").err
    assert kdtui("sft", "default", writer).code == 0
    assert default_adapters(outdoor_store) == {"outdoor": writer}
    assert "name the dataset with --dataset" in kdtui("sft", "default", "shipped").err
    assert kdtui("sft", "default", "shipped", "--dataset", "outdoor").code == 0
    assert default_adapters(outdoor_store) == {}
    assert "there is no adapter 'nmes'; did you mean 'names'?" in kdtui("sft", "default", "nmes").err


def test_the_default_of_several_datasets_changes_in_all_of_them_or_in_none(
    writer: str, outdoor_store: Database, outdoor: Path, kdtui: Kdtui
) -> None:
    list(import_dataset(outdoor_store, outdoor, "second"))
    both = ("--dataset", "outdoor", "--dataset")
    assert "has no default adapter" in kdtui("sft", "default", "--none", *both, "second").err
    assert default_adapters(outdoor_store) == {"outdoor": writer}
    assert "there is no dataset 'nowhere'" in kdtui("sft", "default", "shipped", *both, "nowhere").err
    assert default_adapters(outdoor_store) == {"outdoor": writer}
    assert kdtui("sft", "default", writer, *both, "second").code == 0
    assert default_adapters(outdoor_store) == {"outdoor": writer, "second": writer}
    result = kdtui("sft", "default", "--none")
    assert result.err.count("is no longer the default adapter") == 2
    assert default_adapters(outdoor_store) == {}


def test_a_dataset_is_answered_with_its_default_unless_another_student_is_named(
    writer: str, kdtui: Kdtui, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def note(_: object, __: object, settings: Any, ___: object) -> Any:
        asked.append((settings.student, settings.adapters))
        raise KeyboardInterrupt

    monkeypatch.setattr("kdtui.workflows.student.open.open_student", note)
    monkeypatch.setattr("kdtui.workflows.student.settings.add_trained_knowledge", lambda settings, _: settings)
    monkeypatch.setattr("kdtui.workflows.student.describe_model.settings_for_model", lambda *_: RunSettings("smollm2"))
    for options in ((), ("--student", "shipped"), ("--adapter", "none")):
        result = kdtui("generate", "o34", *options)
        assert ("with names, the default adapter of outdoor; --student shipped leaves it out" in result.err) == (
            not options
        )
    assert asked == [("smollm2", ((writer, 1.0),)), ("shipped", ()), ("smollm2", ())]


def test_a_default_goes_with_its_training(writer: str, outdoor_store: Database, kdtui: Kdtui) -> None:
    refused = kdtui("model", "rm", writer, "--yes")
    assert refused.code == 1
    assert "'names' is the adapter of a training; delete both with: kdtui sft rm names" in refused.err
    assert default_adapters(outdoor_store) == {"outdoor": writer}
    uses = "with 1 adapter, the default adapter of outdoor, which the shipped student answers from then on"
    assert uses in kdtui("sft", "rm", writer).err
    assert uses in kdtui("sft", "rm", writer, "--yes").err
    assert default_adapters(outdoor_store) == {}
