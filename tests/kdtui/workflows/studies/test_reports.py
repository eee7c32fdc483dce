"""The results of a study: its report, its answers, and its measures as a table for other tools."""

import csv
import io
import re
from html.parser import HTMLParser
from pathlib import Path
from random import Random
from typing import Any

import pytest

from kdtui.workflows.data.import_dataset import import_dataset
from kdtui.workflows.knowledge.mine_patterns import mine_patterns
from kdtui.workflows.runs.evaluate import split_to_score
from kdtui.workflows.studies.check_spec import checked_spec
from kdtui.workflows.studies.plan import StudyPlan, make_plan
from kdtui.workflows.studies.results import study_results
from kdtui.workflows.studies.spec import Question, Spec
from kdtui.workflows.studies.spec_files import to_toml
from kdtui.workflows.studies.steps import encoded_step
from kdtui.workflows.studies.store_contents import StoreContents
from store.predictions import PredictedBundle, Prediction, add_predictions
from store.records import RunSettings
from store.runs import finish_run, start_run
from store.sqlite import Database
from store.studies import add_seconds, begin_step, finish_step, save_study
from tests.support.commands import Kdtui

HOSTILE = 'a<b>|"`c'


def question(**fields: Any) -> Question:
    usual = {
        "title": "Which <format>?",
        "compare": "formats",
        "baseline": "none",
        "formats": ("none", "pattern"),
        "utilization": ("icl",),
    }
    return Question(**{**usual, **fields})


def answered(db: Database, spec: Spec, *, skip: int = 0) -> StudyPlan:
    """Store a study in which all cells except the last few have random bundles as answers."""
    chance = Random(0)
    save_study(db, spec.name, to_toml(spec), "test")
    look = StoreContents(db)
    cells = make_plan(db, spec).cells
    for cell in cells[: len(cells) - skip]:
        dataset = cell.step.dataset  # type: ignore[union-attr]
        run = start_run(db, dataset, spec.split, "by chance", RunSettings("smollm2"))
        begin_step(db, cell.key, cell.kind, encoded_step(cell.step), look.basis(cell.step), str(run.id))
        found = []
        for session in split_to_score(db, dataset, spec.split):
            inside = [at for at in range(1, len(session.items) + 1) if chance.random() < 0.6]
            bundles = (PredictedBundle(tuple(str(at) for at in inside), tuple(inside), "for <camping>", 0.5),)
            found.append(Prediction(session.id, bundles if len(inside) > 1 else (), None, chance.random()))
        add_predictions(db, run, found)
        add_seconds(db, cell.key, 1.5)
        finish_run(db, run)
        finish_step(db, cell.key, str(run.id))
    return make_plan(db, spec)


@pytest.fixture
def imported(db: Database, outdoor: Path) -> None:
    for name in ("outdoor", HOSTILE):
        list(import_dataset(db, outdoor, name))
        mine_patterns(db, name)


class Page(HTMLParser):
    """The tags of a page, and its text."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(content)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def written(kdtui: Kdtui, name: str, folder: Path) -> tuple[str, str]:
    result = kdtui("study", "report", name, "--output", folder)
    assert result.code == 0, result.err
    page, markdown = map(Path, result.out.splitlines())
    return page.read_text(encoding="utf-8"), markdown.read_text(encoding="utf-8")


@pytest.mark.usefixtures("finished")
def test_a_report_has_each_question_with_answer_tables_plots_and_commands(kdtui: Kdtui, tmp_path: Path) -> None:
    content, markdown = written(kdtui, "rq3-outdoor", tmp_path / "new" / "folder")
    page = Page(content)
    answers = {row["answer"] for row in kdtui("study", "answers", "rq3-outdoor", "--json").rows}
    assert len(answers) == 2
    for message in answers:
        assert message in page.text
        assert message in markdown.replace("\\", "")
    for text in (page.text, markdown):
        for wanted in (
            "whole session",
            "patterns",
            "sft+icl",
            "Costs",
            "Errors",
            "kdtui evaluate",
            "rank = [16]",
            "Students: tiny.",
            "Adapters are trained on all training sessions of a dataset, for 1 epoch, where",
            "icl: not trained; knowledge is in the prompt; sft: trained, with knowledge in the training only",
            "The knowledge of all rows that use any is pattern+rule+thought.",
        ):
            assert wanted in text.replace("\\", "")
    assert [tag for tag, _ in page.tags].count("svg") >= 4
    shown = kdtui("study", "show", "rq3-outdoor", "--json").rows
    assert f"{shown[0]['pair_f1']:.3f}".removeprefix("0") in page.text


@pytest.mark.usefixtures("finished")
def test_a_report_is_self_contained_and_runs_no_script(kdtui: Kdtui, tmp_path: Path) -> None:
    content, _ = written(kdtui, "rq3-outdoor", tmp_path)
    page = Page(content)
    assert not {tag for tag, _ in page.tags} & {"script", "link", "img", "iframe", "object", "form", "a"}
    for _, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes)
        for name, value in attributes.items():
            if name in ("href", "xlink:href", "src"):
                assert (value or "").startswith("#")
    # XML namespaces are not fetched.
    assert set(re.findall(r"https?://[^\s\"'<]+", content)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }
    assert "url(http" not in content


@pytest.mark.usefixtures("imported")
def test_names_and_texts_from_outside_are_not_markup(kdtui: Kdtui, db: Database, tmp_path: Path) -> None:
    answered(db, checked_spec(Spec("hostile", (question(dataset=(HOSTILE,)),)), "x"))
    content, markdown = written(kdtui, "hostile", tmp_path)
    page = Page(content)
    assert HOSTILE in page.text
    assert "Which <format>?" in page.text
    assert not {tag for tag, _ in page.tags} & {"b", "format"}
    heading = next(line for line in markdown.splitlines() if line.startswith("### Results on"))
    assert heading == r'### Results on a\<b\>\|"\`c'


@pytest.mark.usefixtures("imported")
def test_the_report_of_an_unfinished_study_says_what_is_missing(kdtui: Kdtui, db: Database, tmp_path: Path) -> None:
    answered(db, checked_spec(Spec("part", (question(dataset=("outdoor",)),)), "x"), skip=1)
    content, markdown = written(kdtui, "part", tmp_path)
    for text in (Page(content).text, markdown):
        assert "1 of 2 cells are done" in text
        assert "1: to do" in text
    assert "Nothing can be compared yet" in markdown


@pytest.mark.usefixtures("imported")
def test_a_study_without_any_cell_has_no_report(kdtui: Kdtui, db: Database, tmp_path: Path) -> None:
    answered(db, checked_spec(Spec("none", (question(dataset=("outdoor",)),)), "x"), skip=2)
    for command, output in (("report", "x"), ("export", "x.csv")):
        result = kdtui("study", command, "none", "--output", tmp_path / output)
        assert (result.code, "no cell of study none is done yet" in result.err) == (1, True)
    assert [*tmp_path.glob("x/*"), *tmp_path.glob("x.csv")] == []
    assert kdtui("study", "report", "nobody").code == 1


@pytest.mark.usefixtures("imported")
def test_a_folder_that_cannot_be_written_to_is_one_sentence(kdtui: Kdtui, db: Database, tmp_path: Path) -> None:
    answered(db, checked_spec(Spec("mine", (question(dataset=("outdoor",)),)), "x"))
    (tmp_path / "file").write_text("")
    result = kdtui("study", "report", "mine", "--output", tmp_path / "file" / "below")
    assert result.code == 1
    assert len(result.err.splitlines()) == 1


@pytest.mark.usefixtures("imported")
def test_seeds_are_averaged_and_unaffected_rows_have_no_spread(db: Database) -> None:
    spec = Spec("seeds", (question(dataset=("outdoor",), utilization=("sft",), seed=(0, 1, 2)),))
    [found] = study_results(db, answered(db, checked_spec(spec, "x"))).questions
    assert [len(row.cells) for row in found.rows] == [3, 3]
    assert {row.estimates["pair_f1"].seeds for row in found.rows} == {3}
    assert all(row.estimates["pair_f1"].between_seeds > 0 for row in found.rows)
    plain = Spec("plain", (question(dataset=("outdoor",), seed=(0, 1, 2)),))
    [found] = study_results(db, answered(db, checked_spec(plain, "x"))).questions
    assert [len(row.cells) for row in found.rows] == [1, 1]
    assert {row.estimates["pair_f1"].between_seeds for row in found.rows} == {0.0}


@pytest.mark.usefixtures("imported")
def test_places_of_the_same_cell_are_one_row_and_are_not_compared(db: Database) -> None:
    asked = question(
        dataset=("outdoor",),
        compare="utilization",
        baseline="zero-shot",
        utilization=("zero-shot", "icl", "sft"),
    )
    [found] = study_results(db, answered(db, checked_spec(Spec("rows", (asked,)), "x"))).questions
    assert [row.label for row in found.rows] == [
        "zero-shot · no knowledge",
        "icl · pattern",
        "sft · no knowledge",
        "sft · pattern",
    ]
    assert [(each.baseline, each.other) for each in found.comparisons] == [
        ("outdoor: zero-shot · no knowledge", "outdoor: icl · pattern"),
        ("outdoor: zero-shot · no knowledge", "outdoor: sft · no knowledge"),
        ("outdoor: zero-shot · no knowledge", "outdoor: sft · pattern"),
    ]


@pytest.mark.usefixtures("imported")
def test_a_row_is_not_labelled_by_axes_without_effect(db: Database) -> None:
    asked = question(
        dataset=("outdoor",),
        formats=("pattern", "none"),
        utilization=("zero-shot", "icl", "sft"),
        ratio=(0.5, 1.0),
        rank=(8, 16),
    )
    [found] = study_results(db, answered(db, checked_spec(Spec("labels", (asked,)), "x"))).questions
    assert [row.label for row in found.rows] == [
        "zero-shot · no knowledge",
        "icl · pattern · 50%",
        "icl · pattern · 100%",
        "sft · pattern · 50% · rank 8",
        "sft · pattern · 50% · rank 16",
        "sft · pattern · 100% · rank 8",
        "sft · pattern · 100% · rank 16",
        "sft · no knowledge · rank 8",
        "sft · no knowledge · rank 16",
    ]


@pytest.mark.usefixtures("imported")
def test_the_seconds_of_a_session_are_wall_clock_seconds_everywhere(kdtui: Kdtui, db: Database) -> None:
    plan = answered(db, checked_spec(Spec("mine", (question(dataset=("outdoor",)),)), "x"))
    [found] = study_results(db, plan).questions
    # The sessions took other times each, since they ran in parallel.
    assert [row.cost.seconds for row in found.rows] == [pytest.approx(1.5 / 7)] * 2
    assert [row["seconds"] for row in kdtui("study", "show", "mine", "--json").rows] == [pytest.approx(1.5 / 7)] * 2


@pytest.mark.usefixtures("imported")
def test_sessions_without_an_answer_are_reported(kdtui: Kdtui, db: Database, tmp_path: Path) -> None:
    plan = answered(db, checked_spec(Spec("mine", (question(dataset=("outdoor",)),)), "x"))
    stored = plan.cells[1].stored
    assert stored is not None
    db.execute(
        "UPDATE predictions SET bundles = NULL, error = 'it timed out' WHERE run_id = ? AND rowid IN "
        "(SELECT rowid FROM predictions WHERE run_id = ? LIMIT 3)",
        [stored.made, stored.made],
    )
    _, markdown = written(kdtui, "mine", tmp_path)
    assert "no answer to 3 sessions" in next(line for line in markdown.splitlines() if line.startswith("| pattern |"))
    states = [row["state"] for row in kdtui("study", "show", "mine", "--json").rows]
    assert states == ["done", "done, without an answer to 3 of 7 sessions"]


@pytest.mark.usefixtures("imported")
def test_n_is_the_number_of_each_seed(kdtui: Kdtui, db: Database, tmp_path: Path) -> None:
    spec = Spec("seeds", (question(dataset=("outdoor",), utilization=("sft",), seed=(0, 1, 2)),))
    plan = answered(db, checked_spec(spec, "x"))
    [found] = study_results(db, plan).questions
    row = found.rows[0]
    counts = [seed.count("precision") for seed in row.seeds]
    assert min(counts) < max(counts)
    _, markdown = written(kdtui, "seeds", tmp_path)
    assert f"| {row.label} | {min(counts)}–{max(counts)} |" in markdown


@pytest.mark.usefixtures("imported")
def test_two_datasets_have_a_table_each_and_are_corrected_together(kdtui: Kdtui, db: Database, tmp_path: Path) -> None:
    answered(db, checked_spec(Spec("both", (question(dataset=("outdoor", HOSTILE)),)), "x"))
    _, markdown = written(kdtui, "both", tmp_path)
    assert len([line for line in markdown.splitlines() if line.startswith("### Results on")]) == 2
    rows = kdtui("study", "answers", "both", "--json").rows
    assert [row["baseline"] for row in rows] == ["outdoor: no knowledge", f"{HOSTILE}: no knowledge"]
    assert all(row["adjusted_p"] >= row["p"] for row in rows)


@pytest.mark.usefixtures("finished")
def test_the_answers_to_several_questions_are_one_table_of_csv(kdtui: Kdtui) -> None:
    rows = list(csv.DictReader(io.StringIO(kdtui("study", "answers", "rq3-outdoor", "--format", "csv").out)))
    records = kdtui("study", "answers", "rq3-outdoor", "--json").rows
    assert [(row["question"], row["other"]) for row in rows] == [(row["question"], row["other"]) for row in records]
    assert len({row["question"] for row in rows}) == 2


@pytest.mark.usefixtures("finished")
def test_answers_as_markdown_name_the_question_of_each_table(kdtui: Kdtui) -> None:
    result = kdtui("study", "answers", "rq3-outdoor", "--format", "markdown")
    assert "How is knowledge best used?\n\n" in result.out
    assert "Does knowledge add to what training on bundles alone teaches?\n\n" in result.out


@pytest.mark.usefixtures("imported")
def test_an_answer_without_comparisons_is_shown_next_to_the_data(kdtui: Kdtui, db: Database) -> None:
    answered(db, checked_spec(Spec("part", (question(dataset=("outdoor",)),)), "x"), skip=1)
    for form in ("csv", "json"):
        result = kdtui("study", "answers", "part", "--format", form)
        assert (result.code, result.out) == (0, "")
        assert "Nothing can be compared yet" in result.err


@pytest.mark.usefixtures("finished")
def test_an_export_to_a_file_of_another_kind_is_refused(kdtui: Kdtui, tmp_path: Path) -> None:
    result = kdtui("study", "export", "rq3-outdoor", "--output", tmp_path / "rows.json")
    assert (result.code, list(tmp_path.glob("rows*"))) == (1, [])
    assert "name a file ending in .csv or .parquet" in result.err
    pytest.importorskip("pyarrow")
    assert kdtui("study", "export", "rq3-outdoor", "--output", tmp_path / "rows.PARQUET").code == 0
    assert (tmp_path / "rows.PARQUET").read_bytes().startswith(b"PAR1")


@pytest.mark.usefixtures("imported")
def test_the_exported_rows_average_to_the_scores_of_the_runs(kdtui: Kdtui, db: Database, tmp_path: Path) -> None:
    answered(db, checked_spec(Spec("mine", (question(dataset=("outdoor",)),)), "x"))
    result = kdtui("study", "export", "mine")
    rows = list(csv.DictReader(io.StringIO(result.out)))
    assert len(rows) == 2 * 7
    for shown in kdtui("study", "show", "mine", "--json").rows:
        of_run = [row for row in rows if row["run"] == shown["run"]]
        for measure in ("pair_f1", "strict_precision"):
            mean = sum(float(row[measure]) for row in of_run) / len(of_run)
            assert mean == pytest.approx(shown[measure])
    parquet = pytest.importorskip("pyarrow.parquet")
    assert kdtui("study", "export", "mine", "--output", tmp_path / "mine.parquet").code == 0
    table = parquet.read_table(tmp_path / "mine.parquet").to_pylist()
    assert [row["session"] for row in table] == [row["session"] for row in rows]
    assert [row["pair_f1"] for row in table] == [float(row["pair_f1"]) for row in rows]


def plot(page: str, title: str) -> str:
    """Return the plot with a title."""
    [svg] = [
        svg for svg, caption in re.findall(r"(<svg.*?</svg>)\s*<figcaption>(.*?)<", page, re.DOTALL) if caption == title
    ]
    return str(svg)


def paths(svg: str) -> list[tuple[list[tuple[float, float]], bool]]:
    """Return the points of each line inside the axes, and whether it is dashed."""
    found = []
    for drawn, style in re.findall(r'<path d="([^"]*)" clip-path="[^"]*" style="fill: none;([^"]*)"', svg):
        points = [(float(x), float(y)) for x, y in re.findall(r"[ML] (\S+) (\S+)", drawn)]
        found.append((points, "stroke-dasharray" in style))
    return found


@pytest.mark.usefixtures("imported")
def test_a_row_that_no_ratio_changes_is_a_level_line_across_the_plot(
    kdtui: Kdtui, db: Database, tmp_path: Path
) -> None:
    asked = question(
        compare="ratio", baseline=1.0, ratio=(0.25, 0.5, 1.0), strategy=("random", "length"), dataset=("outdoor",)
    )
    answered(db, Spec("ratios", (asked,)))
    svg = plot(written(kdtui, "ratios", tmp_path)[0], "pair F1 by ratio")
    assert ">no knowledge<" in svg
    drawn = paths(svg)
    across = max(points[-1][0] for points, _ in drawn) - min(points[0][0] for points, _ in drawn)
    [level] = [points for points, is_dashed in drawn if is_dashed and len(points) == 2]
    assert level[0][1] == level[1][1]
    assert level[1][0] - level[0][0] == pytest.approx(across)
    # Each strategy has its own line to the point of all patterns, which are the same for every strategy.
    lines = [points for points, is_dashed in drawn if len(points) == 3 and not is_dashed]
    assert len(lines) == 2
    assert lines[0][-1][1] == lines[1][-1][1]


@pytest.mark.usefixtures("imported")
def test_an_untrained_student_is_level_over_ranks(kdtui: Kdtui, db: Database, tmp_path: Path) -> None:
    asked = question(
        compare="rank",
        baseline=8,
        rank=(8, 16),
        formats=("pattern",),
        utilization=("icl", "sft"),
        dataset=("outdoor",),
    )
    answered(db, Spec("ranks", (asked,)))
    svg = plot(written(kdtui, "ranks", tmp_path)[0], "pair F1 by rank")
    assert ">icl<" in svg
    assert len([points for points, is_dashed in paths(svg) if is_dashed]) == 1
