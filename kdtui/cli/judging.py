"""`kdtui evaluate --judge`: let a model rate the intents of a run."""

from collections.abc import Collection, Generator
from typing import TYPE_CHECKING

import typer

from kdtui.cli.output import progress_bar, say

if TYPE_CHECKING:
    from kdtui.workflows.runs.judge import Judge, JudgeEvent
    from kdtui.workflows.runs.local_judge import LocalJudge
    from kdtui.workflows.runs.ratings import Ratings
    from store.records import Session
    from store.runs import Run
    from store.sqlite import Database


def chosen_judge(
    store: "Database",
    name: str | None,
    key: str | None,
    prices: tuple[float | None, float | None],
    budget: tuple[int | None, float | None],
    answer_tokens: int | None,
    *,
    retry_failed: bool,
) -> "Judge | LocalJudge | None":
    """Return the judge that the options name; None without one.

    Raises:
        BadParameter: there are options about paid calls, but no judge, or one on this machine.
        KdtuiError: there is no such judge, or the budget needs prices that are missing.
    """
    from kdtui.workflows.model_names import is_endpoint

    given = {
        "--judge-key": key,
        "--judge-prompt-price": prices[0],
        "--judge-answer-price": prices[1],
        "--max-calls": budget[0],
        "--max-cost": budget[1],
        "--answer-tokens": answer_tokens,
        "--retry-failed": retry_failed or None,
    }
    options = " and ".join(option for option, value in given.items() if value is not None)
    if name is None:
        if options:
            raise typer.BadParameter(f"there is no judge for {options}; name one with --judge")
        return None
    # Imported here: only evaluations with a judge need them.
    if not is_endpoint(name):
        from kdtui.workflows.runs.local_judge import local_judge

        if options:
            raise typer.BadParameter(f"{name} runs on this machine and costs nothing; leave out {options}")
        return local_judge(store, name)
    from kdtui.workflows.calls.costs import Budget, Prices
    from kdtui.workflows.runs.judge import judge_at

    return judge_at(
        name,
        key or "OPENAI_API_KEY",
        Prices(*prices),
        Budget(*budget),
        answer_tokens=answer_tokens,
        retry_failed=retry_failed,
    )


def rate_with_progress(
    store: "Database", run: "Run", sessions: "Collection[Session]", judge: "Judge | LocalJudge"
) -> "tuple[Ratings | None, Exception | None]":
    """Let a judge rate the intents of a run, and show the progress.

    Returns:
        the ratings, None if there are none; and why some intents have no rating, None if all have one.
    """
    from contextlib import closing

    from kdtui.cli.calls import tally_in_words
    from kdtui.errors import KdtuiError
    from kdtui.workflows.calls.tally import Tally
    from kdtui.workflows.runs.judge import NotRated, Rated, count_intents
    from kdtui.workflows.runs.ratings import Ratings
    from models.errors import ModelError
    from models.student_protocol import Noted

    ratings, tally = None, Tally()
    with progress_bar() as progress:
        task = progress.add_task("ratings", total=count_intents(store, run, sessions))
        try:
            with closing(_events(store, run, sessions, judge)) as events:
                for event in events:
                    match event:
                        case Rated(done, tally):
                            progress.update(task, completed=done, description=f"ratings · {tally_in_words(tally)}")
                        case NotRated(session, reason):
                            say(f"kdtui: session {session}: an intent has no rating; {reason}")
                        case Noted():
                            say(f"kdtui: {event.text}")
                        case Ratings():
                            ratings = event
        except KeyboardInterrupt:
            say("interrupted; finished ratings are kept, and --resume with the same judge continues")
            raise
        except (ModelError, KdtuiError) as error:
            # The scores of the run are still valid.
            return None, error
    say(f"calls of the judge: {tally_in_words(tally)}")
    if ratings is not None and ratings.stopped is not None:
        kept = "finished ratings are kept, and --resume with the same judge continues"
        return ratings, KdtuiError(f"stopped rating intents: {ratings.stopped}; {kept}")
    return ratings, None


def _events(
    store: "Database", run: "Run", sessions: "Collection[Session]", judge: "Judge | LocalJudge"
) -> "Generator[JudgeEvent]":
    """Return the events of either kind of judge."""
    from kdtui.workflows.runs.judge import Judge, rate_intents
    from kdtui.workflows.runs.local_judge import rate_intents_locally

    if isinstance(judge, Judge):
        return rate_intents(store, run, sessions, judge)
    return rate_intents_locally(store, run, sessions, judge)
