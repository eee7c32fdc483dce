"""What was wrong with a teacher's bundles, in the five types of AICL (Sun et al., SIGIR 2024)."""

from collections.abc import Sequence

from kdtui.bundling.truth import minimal_bundles
from kdtui.distill.annotations import intent_of
from models.bundle_list import WrittenBundle
from store.records import Session


def feedback(session: Session, bundles: Sequence[WrittenBundle]) -> str:
    """A line for each bundle of the teacher, and for each true one that it did not find."""
    truth = [(frozenset(bundle.positions), intent_of(bundle.intent)) for bundle in minimal_bundles(session.bundles)]
    lines = [f"- {_numbers(bundle.positions)}: {_verdict(frozenset(bundle.positions), truth)}" for bundle in bundles]
    found = [frozenset(bundle.positions) for bundle in bundles]
    lines += [
        f"- {_numbers(true)} ({intent}) was not found"
        for true, intent in truth
        if not any(true & other for other in found)
    ]
    return "\n".join(lines) or "- no bundle was found"


def _verdict(bundle: frozenset[int], truth: Sequence[tuple[frozenset[int], str]]) -> str:
    if len(bundle) < 2:
        return "has only one product"
    nearest, intent = max(truth, key=lambda each: len(each[0] & bundle) / len(each[0] | bundle))
    if bundle == nearest:
        return f"correct; people wanted: {intent}"
    if not bundle & nearest:
        return "invalid, it has no two products of any bundle of people"
    said = []
    if extra := bundle - nearest:
        said.append(f"contains the irrelevant products {_numbers(extra)}")
    if missing := nearest - bundle:
        said.append(f"misses the products {_numbers(missing)}")
    return f"{' and '.join(said)}; the bundle is {_numbers(nearest)}, people wanted: {intent}"


def _numbers(positions: Sequence[int] | frozenset[int]) -> str:
    return ",".join(map(str, sorted(positions)))
