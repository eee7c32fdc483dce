"""The settings of a student: made of what a user names, named in a table, and checked before anything loads."""

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
"""About the largest number of 32 bits, with which llama.cpp computes."""


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
    """Settings for a student as a user names it; files are named in full, to be found from any folder.

    Args:
        seed: by which `limit` sessions are drawn; None for 0.
        adapters: instead of the one that the shipped student has; None for that one.
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


def base_name(settings: RunSettings) -> str:
    """What to call the model of a student, without what is added to it."""
    if is_endpoint(settings.student):
        address, _, model = settings.student.partition("#")
        # A password, which check_settings refuses, is no part of a name.
        host = address.split("/")[2].rpartition("@")[2]
        return f"{model} at {host}" if model else host
    return Path(settings.student).stem if is_file(settings.student) else settings.student


def adapter_names(settings: RunSettings) -> list[str]:
    """What to call the adapters of a student, each with its scale where that is not 1."""
    return [Path(path).stem + ("" if scale == 1 else f" x {scale:g}") for path, scale in settings.adapters]


def student_name(settings: RunSettings) -> str:
    """What to call a student with these settings."""
    usual = "pairs" if settings.student == SHIPPED else DEFAULT_STRATEGY
    strategy = [settings.strategy] if settings.strategy not in (None, usual) else []
    knowledge = [f"{'+'.join(settings.knowledge)} of {settings.sample}"] if settings.sample else settings.knowledge
    near = [f"near by {Path(settings.near).stem}"] if settings.near else []
    near += ["all domains"] if settings.domains == "all" else []
    return " + ".join([base_name(settings), *adapter_names(settings), *knowledge, *near, *strategy])


def check_settings(settings: RunSettings, dataset: str | None) -> None:
    """Refuse what no student can do, before anything is loaded.

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
        # An endpoint that is asked by AICL is shown none.
        is_shown_none = is_endpoint(settings.student) and settings.strategy == AICL
        what = f"leave out {options}" if is_shown_none else "say which with --knowledge"
        raise KdtuiError(f"{options} {verb} about knowledge that a student is shown; {what}")
    if settings.domains == "all" and settings.sample is None:
        raise KdtuiError(
            "--domains all shows what a sample has of several datasets; name one with --sample, or draw one with: "
            "kdtui sample create NAME --dataset ONE --dataset ANOTHER"
        )
    if settings.student == PATTERNS and (settings.strategy or settings.adapters or settings.context):
        raise KdtuiError(f"{why_no_strategy(PATTERNS)}; leave out --strategy, --adapter and --context")
    if (router := router_in(settings)) is not None:
        _check_routed(settings, router, about_knowledge)
    for path, scale in settings.adapters:
        if not abs(scale) <= _LARGEST_SCALE:
            raise KdtuiError(f"{path}: an adapter acts with a number such as 0.5, not {scale:g}")
    if is_endpoint(settings.student):
        if settings.strategy not in (None, AICL) or settings.adapters or settings.context:
            raise KdtuiError(
                "an endpoint answers in its own way; leave out --strategy (but aicl), --adapter and --context, and "
                "name an adapter that it serves as the model: URL#MODEL"
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
            "--prompt-price and --answer-price are those of an endpoint, and this student is free; leave them out"
        )
    if dataset is None and (settings.knowledge or settings.strategy == AICL):
        raise KdtuiError("say which dataset to learn from, with --dataset")


def _check_routed(settings: RunSettings, router: str, about_knowledge: Sequence[str]) -> None:
    """Refuse what a router decides by itself."""
    if len(settings.adapters) > 1 or settings.adapters[0][1] != 1:
        raise KdtuiError(f"router {router!r} chooses one of its adapters; give no other --adapter, and no scale")
    if settings.knowledge or about_knowledge:
        named = " and ".join([*(["--knowledge"] if settings.knowledge else []), *about_knowledge])
        raise KdtuiError(f"router {router!r} shows each adapter what it was trained with; leave out {named}")
    if settings.strategy not in (None, "list"):
        raise KdtuiError(f"the adapters of router {router!r} write lists of bundles; leave out --strategy")


def uses_evidence(settings: RunSettings) -> bool:
    """Whether a question about a pair says how likely it is by the other sessions of the dataset; of a sample only its
    own patterns may be used."""
    return "pattern" in settings.knowledge and settings.sample is None


def shown_as_trained(settings: RunSettings, trained: TrainingSettings) -> RunSettings:
    """The settings with the knowledge that the prompts of a training showed.

    Those for intents alone show none: the patterns that such a training names are what bundles are found by.
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
