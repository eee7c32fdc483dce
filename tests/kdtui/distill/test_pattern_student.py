"""The student without a language model: its shipped knowledge, and its learning."""

import json
import random
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from kdtui.bundling import truth
from kdtui.distill import pattern_student
from kdtui.distill.category_surprise import SurpriseFeatures
from kdtui.distill.pair_features import PAIR_MEASURES, TextReader, feature_names, features, title_words
from kdtui.distill.pair_model import PairModel, read_pair_model
from kdtui.distill.pattern_student import MOST_PRODUCTS, NOTHING_LEARNED, PatternStudent, without_categories
from kdtui.errors import KdtuiError
from kdtui.workflows.data.import_dataset import import_dataset
from kdtui.workflows.student.learning import LearningProgress, tell_nobody
from kdtui.workflows.student.pair_evidence import open_pattern_student
from models.embedded import shipped_pair_model
from models.errors import ModelError
from models.unit_vectors import Vectors, scaled_to_one
from store.records import Bundle, Item, Session
from store.sessions import draw_sessions, iter_sessions
from store.sqlite import Database
from store.subsets import draw_subset


@pytest.fixture
def train(db: Database, outdoor: Path) -> list[Session]:
    list(import_dataset(db, outdoor, "outdoor"))
    return list(iter_sessions(db, "outdoor", split="train"))


@pytest.fixture(scope="module")
def model() -> PairModel:
    return read_pair_model(shipped_pair_model())


def reader(texts: Sequence[str]) -> Vectors:
    """Vectors of texts: equal for the same words, almost orthogonal without common words."""
    rows = np.zeros((len(texts), 64), np.float32)
    for row, text in zip(rows, texts, strict=True):
        for word in sorted(title_words(Item("text", text))):
            row += np.random.default_rng(sum(word.encode())).normal(size=64)
    return scaled_to_one(rows + 1e-6)


def of_titles(*titles: str) -> Session:
    return Session("titles", tuple(Item(str(number), title) for number, title in enumerate(titles)))


def bundles(student: PatternStudent, session: Session) -> list[tuple[int, ...]]:
    return [bundle.positions for bundle in student.write_bundles(session)]


@pytest.fixture
def notes() -> list[str | LearningProgress]:
    return []


# Before learning


@pytest.mark.parametrize(
    ("titles", "expected"),
    [
        (["Two-person tent", "Tent pegs", "Phone case", "Screen protector"], [(1, 2), (3, 4)]),
        (["Espresso machine", "Espresso cups", "Garden hose"], [(1, 2)]),
    ],
)
def test_it_bundles_titles_without_a_dataset(
    titles: list[str], expected: list[tuple[int, ...]], notes: list[str | LearningProgress]
) -> None:
    with open_pattern_student(None, None, notes.append) as student:
        assert sorted(bundles(student, of_titles(*titles))) == expected
    assert notes == []


def test_without_the_encoder_it_compares_words_and_says_so(
    notes: list[str | LearningProgress], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("models.embedded.shipped_encoder", lambda: tmp_path / "missing.gguf")
    monkeypatch.setattr("models.llama.embedding.checked_encoder", _damaged)
    with open_pattern_student(None, None, notes.append) as student:
        judged = student.pair_probabilities(of_titles("Two-person tent", "Tent for four", "Phone case"))
        student.pair_probabilities(of_titles("Tent", "Kettle"))
    assert judged[0, 1] > judged[0, 2]
    assert notes == ["products are compared without what their titles mean: minilm.gguf is damaged"]


def _damaged() -> Path:
    raise ModelError("minilm.gguf is damaged")


def test_a_missing_pair_model_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"pairs\.json: the pair model is missing; install kdtui again"):
        read_pair_model(tmp_path / "pairs.json")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"alone"', '"lone"', "is damaged"),
        ('"depth":', '"death":', "is of another version"),
        ('"bias": ', '"bias": 1e999, "": ', "is damaged"),
    ],
)
def test_an_unusable_pair_model_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "pairs.json"
    path.write_text(shipped_pair_model().read_text().replace(old, new))
    with pytest.raises(ModelError, match=f"the pair model {message}"):
        read_pair_model(path)


PRODUCTS = st.lists(
    st.builds(
        Item,
        st.uuids().map(str),
        st.none() | st.text(max_size=30),
        st.lists(st.lists(st.text(max_size=5), min_size=1, max_size=3).map(tuple), max_size=2).map(tuple),
    ),
    max_size=7,
)


@given(PRODUCTS)
def test_any_products_get_probabilities_and_disjoint_bundles(items: list[Item]) -> None:
    session = Session("any", tuple(items))
    for read in (reader, None):
        student = PatternStudent(read_pair_model(shipped_pair_model()), NOTHING_LEARNED, read)
        judged = student.pair_probabilities(session)
        assert np.array_equal(judged, judged.T)
        assert ((judged >= 0) & (judged <= 1)).all()
        found = list(student.write_bundles(session))
        positions = [position for bundle in found for position in bundle.positions]
        assert len(set(positions)) == len(positions)
        assert set(positions) <= set(range(1, len(items) + 1))
        assert all(len(bundle.positions) > 1 and 0 < bundle.confidence < 1 for bundle in found)


PATHS = st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map(tuple), max_size=3).map(tuple)
ALIKE = st.lists(
    # Few distinct products, so that pairs are equally likely.
    st.builds(Item, st.just("x"), st.none() | st.sampled_from(["tent", "tent pegs", "phone case", ""]), PATHS),
    max_size=9,
)


@given(st.lists(PRODUCTS | ALIKE, max_size=12))
@pytest.mark.slow
def test_sessions_in_a_batch_are_answered_like_single_ones(products: list[list[Item]]) -> None:
    sessions = [Session(str(number), tuple(items)) for number, items in enumerate(products)]
    for student in (trained(reader), trained(None)):
        together = student.write_many(sessions)
        assert together == [student.write_bundles(session) for session in sessions]
        assert together[::-1] == student.write_many(sessions[::-1])


@cache
def trained(read: TextReader | None) -> PatternStudent:
    """A student that has learned from a few sessions with these categories."""
    chance = random.Random(0)
    train = []
    for number in range(40):
        items = tuple(
            Item(str(at), chance.choice(["tent", "tent pegs", "phone case"]), (tuple(chance.choices("abc", k=3)),))
            for at in range(5)
        )
        train.append(
            Session(f"train {number}", items, (Bundle(tuple(sorted(chance.sample(range(1, 6), 2)))),), "train")
        )
    return PatternStudent.learn(read_pair_model(shipped_pair_model()), train, read)


def test_sessions_with_cached_vectors_use_them_next_to_sessions_without(model: PairModel) -> None:
    def some(texts: Sequence[str]) -> Vectors | None:
        return None if "unknown" in texts else reader(texts)

    student = PatternStudent(model, NOTHING_LEARNED, some)
    sessions = [of_titles("tent", "tent pegs", "phone case"), of_titles("tent", "tent pegs", "unknown")]
    assert student.write_many(sessions) == [student.write_bundles(session) for session in sessions]
    words = PatternStudent(model, NOTHING_LEARNED, None)
    assert student.write_many(sessions)[0] != words.write_many(sessions)[0]
    assert student.write_many(sessions)[1] == words.write_many(sessions)[1]


def test_the_order_of_products_changes_nothing(model: PairModel, train: list[Session]) -> None:
    student = PatternStudent.learn(model, train, reader)
    session = train[0]
    backwards = replace(session, items=session.items[::-1])
    assert np.allclose(student.pair_probabilities(backwards)[::-1, ::-1], student.pair_probabilities(session))


@pytest.mark.parametrize("kind", PAIR_MEASURES)
def test_every_feature_has_a_name(kind: Any, train: list[Session]) -> None:
    vectors = dict(zip(texts := _texts(train[0]), reader(texts), strict=True))
    assert features(train[0], kind, vectors).shape[1] == len(feature_names(kind))


def _texts(session: Session) -> list[str]:
    return [each for item in session.items for each in (item.title or "", item.categories[0][-1])]


# Learning


def test_only_some_of_very_many_sessions_are_learned_from(
    model: PairModel, train: list[Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    by_chance = draw_subset(train, 15, 0, lambda session: session.id)
    some = PatternStudent.learn(model, by_chance, reader).pair_probabilities(train[0])
    monkeypatch.setattr(pattern_student, "MOST_LEARNED_SESSIONS", 15)
    assert np.array_equal(PatternStudent.learn(model, train, reader).pair_probabilities(train[0]), some)


@pytest.mark.usefixtures("train")
def test_it_learns_from_a_limited_number_of_sessions(db: Database) -> None:
    every = [session.id for session in iter_sessions(db, "outdoor", split="train")]
    for count in (1, 3, 7, len(every), 1000):
        some = [session.id for session in draw_sessions(db, "outdoor", "train", count)]
        assert set(some) <= set(every)
        assert len(some) == min(count, len(every))
    assert [session.id for session in draw_sessions(db, "outdoor", "train", truth.MOST_LEARNED_SESSIONS)] == every


@pytest.mark.parametrize("read", [reader, None])
def test_frequently_bundled_pairs_become_more_likely(model: PairModel, read: Any) -> None:
    items = [Item("lens", "Lens", (("Camera", "Optics"),)), Item("bag", "Satchel", (("Travel", "Bags"),))]
    other = Item("pan", "Pan", (("Kitchen", "Pans"),))
    sessions = [Session(str(n), (*items, other), (Bundle((1, 2), "trip"),), "train") for n in range(200)]
    before = PatternStudent(model, NOTHING_LEARNED, read).pair_probabilities(sessions[0])
    chances = [before[0, 1]]
    for count in (20, 200):
        judged = PatternStudent.learn(model, sessions[:count], read).pair_probabilities(sessions[0])
        chances.append(judged[0, 1])
        assert judged[0, 2] < judged[0, 1]
    assert chances == sorted(chances)
    assert chances[-1] > 0.9


def test_a_single_training_session_changes_little(model: PairModel, train: list[Session]) -> None:
    before = PatternStudent(model, NOTHING_LEARNED, reader).pair_probabilities(train[1])
    after = PatternStudent.learn(model, train[:1], reader).pair_probabilities(train[1])
    assert not np.array_equal(before, after)
    assert np.abs(before - after).max() < 0.1


def test_sessions_without_information_are_not_an_error(model: PairModel) -> None:
    one = Session("s", (Item("a", "A"), Item("b", "B")), (Bundle((1, 2)),), "train")
    for sessions in ([], [replace(one, items=one.items[:1], bundles=())], [one], [replace(one, bundles=())]):
        assert 0 < PatternStudent.learn(model, sessions, reader).pair_probabilities(one)[0, 1] < 1


def test_a_training_session_is_judged_without_its_own_counts(model: PairModel, train: list[Session]) -> None:
    sessions = [session for session in train if len(session.items) > 1]
    student = PatternStudent.learn(model, sessions, reader)
    # The same session with other bundles, and everything that its fold does not change.
    before = {session.id: student.pair_probabilities(session) for session in sessions}
    unknown = [replace(session, split=None) for session in sessions]
    assert any(not np.allclose(before[each.id], student.pair_probabilities(each)) for each in unknown)
    again = PatternStudent.from_json(student.to_json(), model, reader)
    written = again.write_many([*sessions, *unknown])
    alone = [again.write_bundles(each) for each in (*sessions, *unknown)]
    assert written == alone
    judged = SurpriseFeatures(student._learned.folds[0].surprises)
    inside = next(each for each in sessions if each.id in student._learned.folds[0].sessions)
    other = replace(inside, bundles=())
    others = [each for each in sessions if each.id != inside.id]
    relearned = PatternStudent.learn(model, [*others, other], reader)._learned.folds
    fold = next(each for each in relearned if inside.id in each.sessions)
    assert np.array_equal(SurpriseFeatures(fold.surprises).features(inside), judged.features(inside))


def test_learned_weights_survive_encoding_and_decoding(model: PairModel, train: list[Session]) -> None:
    student = PatternStudent.learn(model, train, reader)
    again = PatternStudent.from_json(student.to_json(), model, reader)
    for session in (train[0], without_categories(train[0])):
        assert np.array_equal(again.pair_probabilities(session), student.pair_probabilities(session))


@pytest.mark.parametrize("damage", ["", "{}", '{"kinds": {}', "[1, 2]", '{"kinds": {"x": 1}, "surprises": []}'])
def test_text_that_is_not_a_student_is_refused(model: PairModel, damage: str) -> None:
    with pytest.raises(ValueError, match="not a pattern student"):
        PatternStudent.from_json(damage, model, reader)


@pytest.mark.slow
def test_a_session_of_thousands_of_products_is_answered_and_a_larger_one_refused(
    model: PairModel, train: list[Session]
) -> None:
    student = PatternStudent(model, NOTHING_LEARNED, reader)
    kinds = [item for session in train for item in session.items]
    items = tuple(replace(kinds[number % len(kinds)], id=str(number)) for number in range(MOST_PRODUCTS + 1))
    judged = student.pair_probabilities(Session("large", items[:-1]))
    assert judged.shape == (MOST_PRODUCTS, MOST_PRODUCTS)
    assert 0 < judged[0, 1] < 1
    with pytest.raises(KdtuiError, match=f"{MOST_PRODUCTS + 1:,} products"):
        list(student.write_bundles(Session("larger", items)))


# The cache in the store


@pytest.fixture
def lessons(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Grows by one whenever a pattern student learns."""
    calls: list[object] = []
    learn = PatternStudent.learn

    def counted(*given: Any) -> PatternStudent:
        calls.append(given)
        return learn(*given)

    monkeypatch.setattr(PatternStudent, "learn", counted)
    return calls


def use(db: Database, notes: list[str | LearningProgress] | None = None) -> None:
    with open_pattern_student(db, "outdoor", tell_nobody if notes is None else notes.append):
        pass


@pytest.mark.usefixtures("train")
def test_it_learns_once_and_caches_the_result(
    db: Database, lessons: list[object], notes: list[str | LearningProgress]
) -> None:
    use(db)
    use(db, notes)
    assert len(lessons) == 1
    assert notes == []


@pytest.mark.usefixtures("train")
def test_it_learns_again_when_a_bundle_is_deleted(db: Database, lessons: list[object]) -> None:
    use(db)
    db.execute("DELETE FROM bundles WHERE id = (SELECT min(id) FROM bundles)")
    use(db)
    use(db)
    assert len(lessons) == 2


@pytest.mark.usefixtures("train")
@pytest.mark.parametrize(
    "damage", ["''", "'{}'", "substr(learned, 1, 100)", "replace(learned, '\"weights\"', '\"w\"')"]
)
def test_it_learns_again_when_the_cache_is_damaged(db: Database, lessons: list[object], damage: str) -> None:
    use(db)
    db.execute(f"UPDATE pattern_students SET learned = {damage}")
    use(db)
    use(db)
    assert len(lessons) == 2


@pytest.mark.usefixtures("train")
def test_it_reports_progress_of_slow_reading(
    db: Database, notes: list[str | LearningProgress], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kdtui.workflows.student.pair_evidence._AT_ONCE", 40)
    use(db, notes)
    steps = [each for each in notes if isinstance(each, LearningProgress)]
    assert [each.done for each in steps] == [*range(0, steps[0].total, 40), steps[0].total]
    assert steps[0].text.endswith(" sessions of outdoor, once")


@pytest.mark.usefixtures("train")
def test_it_does_not_wait_for_a_locked_store(db: Database, database_of_the_test: Path) -> None:
    other = sqlite3.connect(database_of_the_test)
    other.execute("BEGIN IMMEDIATE")
    use(db)
    other.close()
    assert db.execute("SELECT count(*) FROM pattern_students").fetchone() == (0,)
    assert db.execute("PRAGMA busy_timeout").fetchone() == (30_000,)


def test_a_cached_answer_imports_no_large_library(db: Database, train: list[Session]) -> None:
    session, path = train[0].id, db.execute("PRAGMA database_list").fetchone()[2]
    with open_pattern_student(db, "outdoor", print) as student:
        list(student.write_bundles(train[0]))
    code = (
        "import sys; from kdtui.__main__ import main\n"
        f"sys.argv = ['kdtui', 'generate', {session!r}, '--student', 'patterns', '--db', {path!r}, '--json']\n"
        "try: main()\nexcept SystemExit: pass\n"
        "assert not {'sklearn', 'scipy', 'torch', 'llama_cpp'} & set(sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert json.loads(result.stdout)["session"] == session
