"""The settings of a student: made from what a user names, labelled for tables, and checked before anything loads."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from msgspec.structs import replace

from kdtui.distill.applicable import AICL
from kdtui.errors import KdtuiError
from kdtui.workflows.calls.costs import Budget, Prices, check_budget
from kdtui.workflows.model_names import (
    PATTERNS,
    absolute_name,
    check_address,
    is_endpoint,
    is_file,
    router_in,
)
from kdtui.workflows.student.limits import why_no_knowledge, why_no_strategy
from models.embedded import NAME, SHIPPED
from models.student_protocol import (
    STRATEGIES,
    StrategyName,
)
from store.records import FORMATS, RunSettings, TrainingSettings
from store.similar import suggestion

_LARGEST_SCALE = 1e38
"""About the largest 32-bit float, which llama.cpp uses."""


DEFAULT_STRATEGY: StrategyName = "list"
"""For students that have not been calibrated on the dataset."""


def settings_for(
    student: str,
    knowledge: tuple[str, ...] = (),
    *,
    limit: int | None = None,
    seed: int | None = None,
    context: int | None = None,
    strategy: str | None = None,
    adapters: tuple[tuple[str, float], ...] | None = None,
    sample: str | None = None,
    neighbours: int | None = None,
    budget: int | None = None,
    near: str | None = None,
    domains: Literal["own", "all"] = "own",
) -> RunSettings:
    """Make settings for a student as a user names it. Files become absolute paths.

    Args:
        seed: of the draw of `limit` sessions; None for 0.
        adapters: in place of the adapter of the shipped student; None for that one.
    """
    located = tuple((absolute_name(adapter), scale) for adapter, scale in adapters or ())
    if student == SHIPPED and adapters is not None:
        student = NAME
    near = None if near is None else absolute_name(near)
    seed = None if limit is None else seed or 0
    return RunSettings(
        absolute_name(student),
        knowledge,
        limit,
        context,
        strategy,
        located,
        sample,
        neighbours,
        budget,
        near,
        seed,
        domains=domains,
    )


def base_label(settings: RunSettings) -> str:
    """Label the model of a student, without adapters and knowledge."""
    if is_endpoint(settings.student):
        address, _, model = settings.student.partition("#")
        # A password, which check_settings refuses, is not part of a label.
        host = address.split("/")[2].rpartition("@")[2]
        return f"{model} at {host}" if model else host
    return Path(settings.student).stem if is_file(settings.student) else settings.student


def adapter_names(settings: RunSettings) -> list[str]:
    """Label the adapters of a student, each with its scale unless it is 1."""
    return [Path(path).stem + ("" if scale == 1 else f" x {scale:g}") for path, scale in settings.adapters]


def student_name(settings: RunSettings) -> str:
    """Label a student with these settings."""
    usual = "pairs" if settings.student == SHIPPED else DEFAULT_STRATEGY
    strategy = [settings.strategy] if settings.strategy not in (None, usual) else []
    knowledge = [f"{'+'.join(settings.knowledge)} of {settings.sample}"] if settings.sample else settings.knowledge
    near = [f"near by {Path(settings.near).stem}"] if settings.near else []
    near += ["all domains"] if settings.domains == "all" else []
    return " + ".join([base_label(settings), *adapter_names(settings), *knowledge, *near, *strategy])


def check_settings(settings: RunSettings, dataset: str | None) -> None:
    """Refuse settings that no student can use, before anything is loaded.

    Raises:
        KdtuiError: the settings contradict each other, or need a dataset and there is none.
    """
    unknown = [format for format in settings.knowledge if format not in FORMATS]
    if unknown:
        there_are = f"there are: {', '.join(FORMATS)}"
        raise KdtuiError(
            f"there is no format {unknown[0]!r} of knowledge; {suggestion(unknown[0], FORMATS, there_are)}"
        )
    neighbours = settings.neighbours if settings.strategy != AICL else None
    near = settings.near if settings.strategy != AICL else None
    given = {
        "--sample": settings.sample,
        "--domains": settings.domains == "all",
        "--neighbours": neighbours,
        "--near": near,
        "--budget": settings.budget,
    }
    about_knowledge = [option for option, value in given.items() if value]
    shown_none = why_no_knowledge(settings.student)
    if shown_none is not None and (settings.knowledge or about_knowledge):
        named = " and ".join([*(["--knowledge"] if settings.knowledge else []), *about_knowledge])
        instead = f", or use --student {NAME}" if settings.student == SHIPPED else ""
        raise KdtuiError(f"{shown_none}; leave out {named}{instead}")
    if about_knowledge and not settings.knowledge:
        options = " and ".join(about_knowledge)
        verb = "is" if len(about_knowledge) == 1 else "are"
        # An endpoint that is asked by AICL is shown no knowledge.
        is_shown_none = is_endpoint(settings.student) and settings.strategy == AICL
        what = f"leave out {options}" if is_shown_none else "name the formats with --knowledge"
        raise KdtuiError(f"{options} {verb} about knowledge that a student is shown; {what}")
    if settings.domains == "all" and settings.sample is None:
        raise KdtuiError(
            "--domains all shows a sample of several datasets; name one with --sample, or draw one with: "
            "kdtui sample create NAME --dataset ONE --dataset ANOTHER"
        )
    if settings.student == PATTERNS and (settings.strategy or settings.adapters or settings.context):
        raise KdtuiError(f"{why_no_strategy(PATTERNS)}; leave out --strategy, --adapter and --context")
    if (router := router_in(settings)) is not None:
        _check_routed(settings, router, about_knowledge)
    for path, scale in settings.adapters:
        if not abs(scale) <= _LARGEST_SCALE:
            raise KdtuiError(f"{path}: the scale of an adapter is a number such as 0.5, not {scale:g}")
    if is_endpoint(settings.student):
        if settings.strategy not in (None, AICL) or settings.adapters or settings.context:
            raise KdtuiError(
                "an endpoint takes no --adapter, no --context and no --strategy but aicl; for an adapter that it "
                "serves, give the adapter's name as MODEL in URL#MODEL"
            )
        if settings.strategy == AICL and settings.knowledge:
            raise KdtuiError("with aicl an endpoint learns from the nearest session; leave out --knowledge")
        check_address(settings.student)
    if settings.strategy is not None and settings.strategy not in (*STRATEGIES, AICL):
        strategies = (*STRATEGIES, AICL)
        there_are = f"there are: {', '.join(strategies)}"
        raise KdtuiError(
            f"there is no strategy {settings.strategy!r}; {suggestion(settings.strategy, strategies, there_are)}"
        )
    if settings.student == SHIPPED and settings.strategy not in (None, "pairs"):
        raise KdtuiError(f"{why_no_strategy(SHIPPED)}; for other strategies use --student {NAME}")
    prices = Prices(settings.prompt_price, settings.answer_price)
    check_budget(Budget(), prices)
    if prices.are_known and not is_endpoint(settings.student):
        raise KdtuiError(
            "--prompt-price and --answer-price are for an endpoint, and this student is free; leave them out"
        )
    if dataset is None and (settings.knowledge or settings.strategy == AICL):
        raise KdtuiError("name the dataset to learn from with --dataset")


def _check_routed(settings: RunSettings, router: str, about_knowledge: Sequence[str]) -> None:
    """Refuse settings that a router decides by itself."""
    if len(settings.adapters) > 1 or settings.adapters[0][1] != 1:
        raise KdtuiError(
            f"router {router!r} chooses one of its adapters; leave out other --adapter options, and the scale"
        )
    if settings.knowledge or about_knowledge:
        named = " and ".join([*(["--knowledge"] if settings.knowledge else []), *about_knowledge])
        raise KdtuiError(f"router {router!r} shows each adapter what it was trained with; leave out {named}")
    if settings.strategy not in (None, "list"):
        raise KdtuiError(f"the adapters of router {router!r} write lists of bundles; leave out --strategy")


def uses_evidence(settings: RunSettings) -> bool:
    """Return whether questions about pairs say how likely a pair is by the other sessions of the dataset.

    A sample shows only its own patterns.
    """
    return "pattern" in settings.knowledge and settings.sample is None


def add_trained_knowledge(settings: RunSettings, trained: TrainingSettings) -> RunSettings:
    """Return the settings with the knowledge that the prompts of a training showed.

    Trainings for intents show none: their bundles come from the pair model.
    """
    if trained.target or trained.form == "intents" or not trained.knowledge:
        return settings
    return replace(
        settings,
        knowledge=trained.knowledge,
        sample=settings.sample or trained.sample,
        neighbours=settings.neighbours or trained.neighbours,
        budget=settings.budget or trained.budget,
    )
