"""Grids: settings that make no difference make no cells, and shared work of cells is done once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from kdtui.workflows.adapters.routers import LEAST_SESSIONS
from kdtui.workflows.student import calibrate
from kdtui.workflows.studies.grid import LEAST_TO_CALIBRATE, LEAST_TO_ROUTE, Grid, grids
from kdtui.workflows.studies.labels import cell_label, cell_names, label
from kdtui.workflows.studies.plan import steps_in_order
from kdtui.workflows.studies.spec import Question, Spec, TrainingOptions
from kdtui.workflows.studies.spec_files import load_preset
from kdtui.workflows.studies.steps import (
    EvaluationStep,
    SampleStep,
    Step,
    TrainingStep,
    decoded_step,
    encoded_step,
    prerequisites,
    run_settings,
    step_key,
    step_kind,
)
from kdtui.workflows.training.plan import TrainingPlan
from models.sft.job import CONTINUED_LEARNING_RATE, LEARNING_RATE
from store.records import TrainingSettings

VALIDATION = {"a": 90, "b": 90}


def question(**fields: object) -> Question:
    usual = {"title": "?", "compare": "formats", "baseline": "none", "formats": ("none", "rule"), "dataset": ("a",)}
    return Question(**{**usual, **fields})  # type: ignore[arg-type]


def grid(**fields: object) -> Grid:
    [found] = grids(Spec("s", (question(**fields),)), VALIDATION)
    return found


def cells(found: list[Grid]) -> set[EvaluationStep]:
    return {arm.cell for each in found for arm in each.arms}


def steps(found: list[Grid]) -> list[Step]:
    return list(steps_in_order([arm.cell for each in found for arm in each.arms]))


def count(found: list[Grid]) -> dict[str, int]:
    kinds = [step_kind(step) for step in steps(found)]
    return {kind: kinds.count(kind) for kind in ("sample", "training", "calibration", "evaluation")}


@pytest.mark.parametrize(
    ("name", "datasets", "expected"),
    [
        # none: zero-shot and trained only on bundles; five sets of formats, shown, and shown and trained with
        ("rq1", ["a"], {"sample": 0, "training": 6, "calibration": 0, "evaluation": 12}),
        # 21 samples: 4 ratios x 3 sets of formats, 3 ratios of 3 more strategies. 22 trainings: with each, and on all.
        # 45 evaluations: 21 shown and 21 trained with, all shown and trained with, and the zero-shot run that says how
        # difficult training sessions are
        ("rq2", ["a"], {"sample": 21, "training": 22, "calibration": 0, "evaluation": 45}),
        # Twice that for two datasets. Samples: all of the other's knowledge is that of ratio 1 there, so 1 more, of
        # both. Trainings: the other's adapter is its own, so 1 more, of both. Evaluations: 4 more of each dataset,
        # shown and trained with the other's and both
        ("rq2", ["a", "b"], {"sample": 43, "training": 45, "calibration": 0, "evaluation": 98}),
        # zero-shot, shown, trained with, both; and trained only on bundles
        ("rq3", ["a"], {"sample": 0, "training": 2, "calibration": 0, "evaluation": 5}),
        # All of rq3 but one cell is in rq1, and that one is in rq2, as is what rq2 shows and trains with of all
        ("all", ["a"], {"sample": 21, "training": 27, "calibration": 0, "evaluation": 56}),
    ],
)
def test_a_preset_takes_no_more_steps_than_a_hand_count(
    name: str, datasets: list[str], expected: dict[str, int]
) -> None:
    assert count(grids(load_preset(name, datasets), VALIDATION)) == expected


def test_without_knowledge_nothing_is_shown_or_sampled() -> None:
    found = grid(utilization=("zero-shot", "icl"), ratio=(0.1, 0.5), strategy=("random", "length"), seed=(0, 1))
    bare = {arm.cell for arm in found.arms if arm.at["formats"] == "none"}
    assert [(cell.shown, cell.sample, cell.training) for cell in bare] == [((), None, None)]


def test_an_untrained_base_has_no_rank_and_no_seed() -> None:
    found = grid(utilization=("icl",), rank=(4, 8), seed=(0, 1, 2))
    assert len(found.arms) == 12
    assert len(cells([found])) == 2


def test_one_adapter_answers_with_and_without_knowledge_in_its_prompt() -> None:
    found = grid(utilization=("sft", "sft+icl"))
    assert count([found])["training"] == 2
    assert len(cells([found])) == 3


def test_a_source_adapter_determines_the_rank_and_lowers_the_learning_rate() -> None:
    axes = {"from_": ("nothing", "earlier"), "rank": (8, 16), "utilization": ("sft",), "formats": ("none",)}
    found = grid(compare="from", baseline="nothing", **axes)
    trainings = [step for step in steps([found]) if isinstance(step, TrainingStep)]
    assert [(step.start, step.rank, step.learning_rate) for step in trainings] == [
        (None, 8, LEARNING_RATE),
        (None, 16, LEARNING_RATE),
        ("earlier", 0, CONTINUED_LEARNING_RATE),
    ]
    assert {cell_label(cell) for cell in cells([found])} == {
        "smollm2 sft",
        "smollm2 sft from earlier",
        "smollm2 sft rank 8",
    }


def test_adapters_of_a_study_are_trained_with_the_defaults_of_a_launch() -> None:
    [found] = grids(Spec("s", (question(utilization=("sft",), formats=("none",)),)), VALIDATION)
    [training] = [step for step in steps([found]) if isinstance(step, TrainingStep)]
    launch = TrainingPlan("mine", TrainingSettings(("a",), "list"))
    assert (training.epochs, training.batch_tokens, training.longest, training.sessions) == (
        launch.settings.epochs,
        launch.batch_tokens,
        launch.longest,
        launch.settings.limit,
    )


def test_training_sessions_is_an_axis_that_defaults_to_the_number_of_the_study() -> None:
    found = grid(compare="training_sessions", baseline=20, training_sessions=(20, 50), utilization=("icl", "sft"))
    trainings = [step for step in steps([found]) if isinstance(step, TrainingStep)]
    assert {step.sessions for step in trainings} == {20, 50}
    # An untrained base has no training sessions.
    assert len({cell for cell in cells([found]) if cell.training is None}) == 2
    [usual] = grids(Spec("s", (question(utilization=("sft",)),), training=TrainingOptions(sessions=7)), VALIDATION)
    assert {cell.training.sessions for cell in cells([usual]) if cell.training is not None} == {7}


def test_steps_without_new_settings_keep_their_key() -> None:
    for step in steps([grid(utilization=("sft+icl",))]):
        assert "start" not in encoded_step(step)
        assert "mixture" not in encoded_step(step)


def test_all_knowledge_is_the_same_in_any_order() -> None:
    found = grid(utilization=("icl",), ratio=(1.0,), strategy=("random", "length"), seed=(0, 1))
    assert len({arm.cell for arm in found.arms if arm.at["formats"] == "rule"}) == 1


def test_a_seed_trains_another_adapter_on_the_same_full_sample() -> None:
    found = grid(utilization=("sft",), ratio=(1.0,), seed=(0, 1))
    samples = {step for step in steps([found]) if isinstance(step, SampleStep)}
    trainings = {step for step in steps([found]) if isinstance(step, TrainingStep) and step.formats}
    assert (len(samples), len(trainings)) == (1, 2)


def test_difficulty_needs_one_zero_shot_run_over_the_training_sessions() -> None:
    found = grid(strategy=("difficulty",), ratio=(0.1, 0.5), utilization=("icl", "sft"))
    over_training = [step for step in steps([found]) if isinstance(step, EvaluationStep) and step.split == "train"]
    assert len(over_training) == 1


def test_a_teacher_is_a_sample_of_all_its_knowledge() -> None:
    found = grid(teacher=("annotations",))
    [sample] = [step for step in steps([found]) if isinstance(step, SampleStep)]
    assert (sample.teacher, sample.ratio) == ("annotations", 1.0)


def test_patterns_have_no_teacher() -> None:
    found = grid(formats=("none", "pattern"), teacher=("annotations", "other"))
    assert len(cells([found])) == 2


def test_other_domains_are_left_out_with_the_reason_if_there_are_none() -> None:
    found = grid(utilization=("sft",), domains=("own", "other", "pooled"), compare="domains", baseline="own")
    assert found.left_out == [
        "other domains of a: the study has no other dataset",
        "pooled domains of a: the study has no other dataset",
    ]
    assert len(found.arms) == 2


def test_each_student_of_pairs_is_calibrated_once() -> None:
    questions = tuple(replace(each, form=("pairs",)) for each in load_preset("rq3", ["a"]).question)
    found = grids(Spec("s", questions), VALIDATION)
    assert count(found) == {"sample": 0, "training": 2, "calibration": 5, "evaluation": 5}


def test_students_that_list_bundles_are_not_calibrated() -> None:
    found = grid(form=("list", "pairs"))
    assert {arm.cell.is_calibrated for arm in found.arms if arm.at["form"] == "list"} == {False}
    assert {arm.cell.is_calibrated for arm in found.arms if arm.at["form"] == "pairs"} == {True}


def test_a_router_needs_an_adapter_for_each_format_and_one_without_and_their_validation_answers() -> None:
    found = grid(formats=("pattern+rule+thought",), baseline="sft+icl", compare="utilization", utilization=("routed",))
    assert count([found]) == {"sample": 0, "training": 4, "calibration": 0, "evaluation": 4 + 1}
    assert [step_kind(step) for step in steps([found])].count("mixture") == 1
    [cell] = cells([found])
    assert cell.mixture is not None
    assert cell_label(cell) == "smollm2 routed pattern+rule+thought"
    assert {each.formats for each in cell.mixture.trainings} == {(), ("pattern",), ("rule",), ("thought",)}
    # The question on formats has the same adapters.
    formats = grid(formats=("none", "pattern", "rule", "thought"), utilization=("sft+icl",))
    assert set(cell.mixture.trainings) == {each.training for each in cells([formats])}


def test_a_merge_needs_the_adapters_of_a_router_without_answers() -> None:
    found = grid(formats=("rule+thought",), baseline="rule+thought", utilization=("merged",))
    assert count([found]) == {"sample": 0, "training": 3, "calibration": 0, "evaluation": 1}
    [cell] = cells([found])
    assert (cell.shown, cell_label(cell)) == (("rule", "thought"), "smollm2 merged rule+thought")


def test_a_router_needs_validation_sessions() -> None:
    [found] = grids(Spec("s", (question(formats=("rule",), baseline="rule", utilization=("routed", "icl")),)), {"a": 1})
    assert found.left_out == ["routed students on a: comparing adapters takes 2 validation sessions"]
    assert LEAST_TO_ROUTE == LEAST_SESSIONS


def test_students_are_calibrated_if_there_are_enough_validation_sessions() -> None:
    assert LEAST_TO_CALIBRATE == calibrate.LEAST_SESSIONS
    for sessions, is_calibrated in ((LEAST_TO_CALIBRATE - 1, False), (LEAST_TO_CALIBRATE, True)):
        [found] = grids(Spec("s", (question(form=("pairs",), utilization=("icl",)),)), {"a": sessions})
        assert {cell.is_calibrated for cell in cells([found])} == {is_calibrated}


def test_a_router_of_students_of_pairs_is_left_out_with_the_reason() -> None:
    found = grid(form=("pairs",), utilization=("routed", "icl"))
    assert found.left_out == ["routed students that are asked about pairs: a router takes adapters that write lists"]


def test_each_step_comes_after_the_steps_that_it_needs() -> None:
    seen: set[Step] = set()
    for step in steps(grids(load_preset("all", ["a", "b"]), VALIDATION)):
        assert set(prerequisites(step)) <= seen
        assert step not in seen
        seen.add(step)


def test_a_stored_step_reads_the_same() -> None:
    for step in steps(grids(load_preset("all", ["a", "b"]), VALIDATION)):
        assert decoded_step(encoded_step(step)) == step


@given(st.permutations(["none", "pattern", "rule", "thought", "thought+rule"]), st.permutations([0, 1, 2]))
def test_the_order_of_an_axis_does_not_change_cells(formats: list[str], seed: list[int]) -> None:
    usual = grid(formats=("none", "pattern", "rule", "thought", "rule+thought"), seed=(0, 1, 2), utilization=("sft",))
    other = grid(formats=tuple(formats), seed=tuple(seed), utilization=("sft",))
    assert {step_key(cell) for cell in cells([usual])} == {step_key(cell) for cell in cells([other])}


def test_every_cell_and_step_has_a_unique_label() -> None:
    found = steps(grids(load_preset("all", ["a", "b"]), VALIDATION))
    assert len({label(step) for step in found}) == len(found)
    evaluations = [step for step in found if isinstance(step, EvaluationStep)]
    assert cell_label(evaluations[0]) == "smollm2 zero-shot"


def test_a_label_names_unusual_settings() -> None:
    found = grid(form=("pairs",), utilization=("sft+icl",), ratio=(0.25,), rank=(8,), seed=(3,), strategy=("length",))
    labels = {cell_label(arm.cell) for arm in found.arms}
    assert "smollm2 sft+icl rule about pairs 25% by length rank 8, seed 3" in labels


def shown_with(domains: str, utilization: str) -> EvaluationStep:
    questions = question(dataset=("a", "b"), domains=(domains,), utilization=(utilization,), formats=("none", "rule"))
    [found] = grids(Spec("s", (questions,)), VALIDATION)
    [cell] = [arm.cell for arm in found.arms if arm.at["formats"] == "rule" and arm.at["dataset"] == "a"]
    return cell


@pytest.mark.parametrize(("domains", "datasets"), [("other", ("b",)), ("pooled", ("a", "b"))])
def test_a_student_is_shown_the_knowledge_of_the_domains_that_it_is_trained_on(
    domains: str, datasets: tuple[str, ...]
) -> None:
    shown = shown_with(domains, "icl")
    assert shown.sample is not None
    assert (shown.sample.datasets, shown.sample.ratio, shown.training) == (datasets, 1.0, None)
    assert run_settings(shown, lambda _: "sample").domains == "all"
    both = shown_with(domains, "sft+icl")
    assert both.sample == shown.sample
    assert both.training is not None
    assert both.training.datasets == datasets
    own = shown_with("own", "icl")
    assert (own.sample, run_settings(own, lambda _: "sample").domains) == (None, "own")


def test_adapters_of_a_routed_student_are_shown_the_knowledge_of_the_domains_that_they_are_trained_on() -> None:
    asked = question(
        dataset=("a", "b"), domains=("pooled",), utilization=("routed", "sft+icl"), formats=("rule",), baseline="rule"
    )
    [found] = grids(Spec("s", (asked,)), VALIDATION)
    cells_of_a = {arm.at["utilization"]: arm.cell for arm in found.arms if arm.at["dataset"] == "a"}
    routed, both = cells_of_a["routed"], cells_of_a["sft+icl"]
    assert routed.mixture is not None
    [bare, shown] = routed.mixture.answers
    assert (bare.sample, bare.shown) == (None, ())
    assert (shown.sample, shown.training) == (both.sample, both.training)
    assert shown.sample is not None
    assert shown.sample.datasets == ("a", "b")


def test_a_student_without_knowledge_has_no_domains() -> None:
    found = grid(utilization=("zero-shot",), domains=("own", "other", "pooled"), compare="domains", baseline="own")
    assert (found.left_out, len(cells([found]))) == ([], 1)


def test_cells_that_differ_only_in_their_training_sessions_have_names_of_their_own() -> None:
    found = grid(utilization=("sft", "icl"), formats=("rule",), baseline="rule", training_sessions=(20, 1))
    assert set(cell_names([arm.cell for arm in found.arms]).values()) == {
        "smollm2 icl rule",
        "smollm2 sft rule, 1 training session",
        "smollm2 sft rule, 20 training sessions",
    }
    trainings = [label(step) for step in steps([found]) if isinstance(step, TrainingStep)]
    assert trainings == ["train smollm2 with rule on 20 sessions of a", "train smollm2 with rule on 1 session of a"]
