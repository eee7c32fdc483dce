"""Specs of studies in TOML: they are read, checked, changed by options, and written so that they read the same."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdtui.errors import KdtuiError
from kdtui.workflows.studies.spec import PRESETS, Question, Spec, TeacherOptions, TrainingOptions
from kdtui.workflows.studies.spec_files import changed_spec, load_preset, parsed_spec, read_spec, to_toml

QUESTION = """
[[question]]
title = "Which format?"
compare = "formats"
baseline = "none"
formats = ["none", "rule"]
"""


def described(*, before: str = "", question: str = QUESTION, behind: str = "") -> str:
    return f'name = "mine"\ndataset = ["outdoor"]\n{before}\n{question}\n{behind}'


def teacher(line: str, address: str = 'address = "http://x/v1#m"') -> str:
    return described(behind=f"[teachers.big]\n{address}\n{line}")


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_asks_questions_about_the_datasets_that_are_named(name: str) -> None:
    spec = load_preset(name, ["outdoor", "kitchen"])
    assert spec.name == f"{name}-outdoor+kitchen"
    assert spec.datasets() == ("outdoor", "kitchen")
    assert spec.question


def test_a_preset_takes_a_dataset_with_a_long_name() -> None:
    one, other = (load_preset("rq3", ["x" * 200 + end]).name for end in "ab")
    assert len(one) == 100
    assert one.startswith("rq3-" + "x" * 80)
    assert one != other


@pytest.mark.parametrize(
    "datasets",
    [
        (["a b"], ["a-b"]),
        (["a", "b"], ["a-b"]),
        (["a", "b"], ["a+b"]),
        (["ä"], ["ö"]),
        (["a/b"], ["a\\b"]),
        (["-a"], ["a"]),
    ],
)
def test_presets_on_different_datasets_have_different_names(datasets: tuple[list[str], list[str]]) -> None:
    one, other = (load_preset("rq3", each).name for each in datasets)
    assert one != other


@given(
    st.lists(
        st.lists(st.text(min_size=1, max_size=9), min_size=1, max_size=3, unique=True), min_size=2, unique_by=tuple
    )
)
def test_a_preset_has_a_name_of_its_own_on_any_datasets(datasets: list[list[str]]) -> None:
    names = [load_preset("all", each).name for each in datasets]
    assert len(set(names)) == len(names)
    # As a user can type it.
    assert all(re.fullmatch(r"[A-Za-z0-9._+-]{1,100}", name) for name in names)


def test_a_preset_keeps_the_name_of_a_dataset_as_far_as_it_can() -> None:
    assert load_preset("rq3", ["demo-outdoor"]).name == "rq3-demo-outdoor"
    assert re.fullmatch(r"rq3-my-shop-2024-[0-9a-f]{6}", load_preset("rq3", ["my shop (2024)"]).name)


def test_the_preset_all_asks_the_questions_of_the_others() -> None:
    titles = [question.title for name in ("rq1", "rq2", "rq3") for question in load_preset(name, ["outdoor"]).question]
    assert [question.title for question in load_preset("all", ["outdoor"]).question] == titles


def test_a_question_takes_the_datasets_of_the_study_unless_it_names_its_own() -> None:
    own = QUESTION + 'dataset = ["kitchen"]\n'
    spec = parsed_spec(described(question=QUESTION + own), "x")
    assert [question.dataset for question in spec.question] == [("outdoor",), ("kitchen",)]
    assert spec.datasets() == ("outdoor", "kitchen")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (described(before="sesions = 3"), "there is no field 'sesions' here; did you mean 'sessions'"),
        (described(behind="ratios = [1.0]"), "there is no field 'ratios' here; did you mean 'ratio'"),
        (described(behind="[training]\nepoch = 1"), "there is no field 'epoch' here; did you mean 'epochs'"),
        (described(behind="rank = []"), "question 1: the axis rank is empty"),
        (described(behind="rank = [4, 4]"), "question 1: the axis rank has 4 twice"),
        (described(behind="rank = [0]"), "a rank is at least 1"),
        (described(behind="seed = [-1]"), "a seed is at least 0"),
        (described(behind="ratio = [0.0]"), "a ratio must be above 0 and at most 1, not 0"),
        (described(behind="ratio = [1.5]"), "a ratio must be above 0 and at most 1, not 1.5"),
        (described(behind='utilization = ["rag"]'), "question 1: utilization, value 1: invalid enum value 'rag'"),
        (described(behind='rank = [8, "a"]'), "question 1: rank, value 2: expected `integer`, got `string`"),
        (described(before='hosts = "local"'), "hosts: expected `list`, got `string`"),
        (described(behind='[training]\nepochs = "2"'), "training.epochs: expected `integer`, got `string`"),
        (described(question="[[question]]"), "question 1: there is no field `title`"),
        (described(before="draw = -1"), "draw is at least 0, not -1"),
        (described(before=f"draw = {10**20}"), "draw is at most 2,147,483,647, not 100,000,000,000"),
        (described(before=f"sessions = {10**20}"), "sessions is at most"),
        pytest.param(described(before=f"sessions = {'9' * 5000}"), "has thousands of digits", id="long number"),
        pytest.param(described(before=f"sessions = {'[' * 5000}"), "nested too deeply", id="nested lists"),
        (described(before='hosts = ["gpu", "gpu"]'), "hosts has 'gpu' twice"),
        (described(behind=f"rank = [{10**20}]"), "question 1: a rank is at most"),
        (described(behind=f"seed = [{10**20}]"), "question 1: a seed is at most"),
        (described(behind=f"[training]\nepochs = {10**20}"), "training.epochs is at most"),
        (teacher("sessions = 0"), "teachers.big: sessions is at least 1, not 0"),
        (teacher("max_calls = -1"), "teachers.big: max_calls is at least 0, not -1"),
        (teacher("max_cost = -1.0"), "teachers.big: max_cost is a number of at least 0, not -1"),
        (teacher("prompt_price = nan"), "teachers.big: prompt_price is a number of at least 0, not nan"),
        (
            teacher('address = "http://u:secret@x/v1#m"', address=""),
            "teachers.big: the address of an endpoint must not contain a key",
        ),
        (f'name = "{"n" * 101}"\ndataset = ["x"]\n' + QUESTION, "has 100 characters at most, not 101"),
        ('name = "rq1"\ndataset = ["x"]\n' + QUESTION, "'rq1' is the name of a preset"),
        (described(question=QUESTION.replace('"rule"', '"rules"')), "there is no format 'rules' of knowledge"),
        (described(question=QUESTION.replace('"none"\n', '"thought"\n')), "'thought' is not one of the values"),
        (described(question=QUESTION.replace('["none", "rule"]', '["none"]')), "there is nothing to compare"),
        (described(question=QUESTION.replace('"formats"', '"seed"')), "no axis 'seed' can be compared"),
        (described(before="sessions = 0"), "sessions must be at least 1, not 0"),
        (described(before="hosts = []"), "hosts is empty"),
        (described(behind="[training]\nepochs = 0"), "training.epochs is at least 1, not 0"),
        (described(behind="[training]\nlearning_rate = 2.0"), "training.learning_rate is between 0 and 1, not 2"),
        (described(behind="[training]\nsessions = 0"), "training.sessions must be at least 1, not 0"),
        (described(behind='[teachers.any]\naddress = "http://x/v1#m"'), "teachers.any: that name is reserved"),
        (described(behind='[teachers.big]\naddress = "http://x/v1"'), "the address names no model; write URL#MODEL"),
        ('name = "mine"\n' + QUESTION, "question 1 names no dataset"),
        ('name = "a b"\ndataset = ["x"]\n' + QUESTION, "'a b' cannot be the name of a study"),
        ('name = "mine"\ndataset = ["x"]\nquestion = []', "it has no question"),
        ("name = ", "not TOML"),
        ('name = "mine"', "question"),
    ],
)
def test_an_invalid_spec_is_refused_with_one_sentence(text: str, problem: str) -> None:
    with pytest.raises(KdtuiError) as refusal:
        parsed_spec(text, "my.toml")
    assert problem in str(refusal.value)
    assert str(refusal.value).startswith("my.toml: ")
    assert "\n" not in str(refusal.value)


def test_a_huge_grid_is_refused() -> None:
    many = ", ".join(map(str, range(2000)))
    with pytest.raises(KdtuiError, match="its grid has"):
        parsed_spec(described(behind=f"seed = [{many}]\nrank = [{many.replace('0,', '', 1)}]"), "x")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(KdtuiError, match="cannot be read: No such file"):
        read_spec(tmp_path / "nowhere.toml")
    (tmp_path / "latin.toml").write_bytes(b'name = "\xe9"')
    with pytest.raises(KdtuiError, match="it is not UTF-8 text"):
        read_spec(tmp_path / "latin.toml")


def test_options_change_every_question() -> None:
    spec = changed_spec(
        load_preset("rq3", ["outdoor"]), student=("other",), seed=(0, 1), sessions=5, dataset=("kitchen",)
    )
    assert {question.student for question in spec.question} == {("other",)}
    assert {question.seed for question in spec.question} == {(0, 1)}
    assert spec.datasets() == ("kitchen",)
    assert spec.sessions == 5


def test_an_omitted_option_changes_nothing() -> None:
    spec = load_preset("rq1", ["outdoor"])
    assert changed_spec(spec, student=None, sessions=None) == spec


names = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), min_size=1, max_size=12)
questions = st.builds(
    Question,
    title=st.text(max_size=30),
    compare=st.just("formats"),
    baseline=st.just("none"),
    dataset=st.lists(names, min_size=1, max_size=2, unique=True).map(tuple),
    formats=st.just(("none", "pattern+thought")),
    ratio=st.none() | st.just((0.25, 1.0)),
    seed=st.lists(st.integers(0, 9), min_size=1, unique=True).map(tuple),
)
specs = st.builds(
    Spec,
    name=st.from_regex(r"[a-z0-9][a-z0-9._-]{0,9}", fullmatch=True).filter(lambda name: name not in PRESETS),
    question=st.lists(questions, min_size=1, max_size=3).map(tuple),
    dataset=st.lists(names, max_size=2, unique=True).map(tuple),
    sessions=st.none() | st.integers(1, 999),
    training=st.builds(TrainingOptions, sessions=st.none() | st.integers(1, 99)),
    teachers=st.dictionaries(
        names.filter(lambda name: name not in ("any", "annotations")),
        st.builds(TeacherOptions, address=st.just("http://localhost:1/v1#m"), max_cost=st.none() | st.floats(0, 9)),
        max_size=2,
    ),
)


@given(specs)
def test_a_written_spec_reads_the_same(spec: Spec) -> None:
    assert parsed_spec(to_toml(spec), "x") == spec
