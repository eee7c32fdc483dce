"""Feedback on a teacher's bundles: their errors, in the five types of AICL (Sun et al., SIGIR 2024)."""

from collections.abc import Sequence

from kdtui.bundling.bundle_errors import BundleErrors, find_errors, missed_bundles
from kdtui.bundling.truth import minimal_bundles
from kdtui.distill.annotations import clean_intent
from models.bundle_list import WrittenBundle
from store.records import Session


def write_feedback(session: Session, bundles: Sequence[WrittenBundle]) -> str:
    """Return a line for each bundle of the teacher, and for each true one that it missed."""
    annotated = [
        (frozenset(bundle.positions), clean_intent(bundle.intent)) for bundle in minimal_bundles(session.bundles)
    ]
    truth, predicted = [true for true, _ in annotated], [frozenset(bundle.positions) for bundle in bundles]
    lines = [f"- {_numbers(bundle)}: {_verdict(find_errors(truth, bundle), annotated)}" for bundle in predicted]
    lines += [
        f"- {_numbers(true)} ({intent}) was not found"
        for true, intent in (annotated[number] for number in missed_bundles(truth, predicted))
    ]
    return "\n".join(lines) or "- no bundle was found"


def _verdict(errors: BundleErrors, annotated: Sequence[tuple[frozenset[int], str]]) -> str:
    if "single" in errors.types:
        return "has only one product"
    if errors.nearest is None:
        return "invalid, it has no two products of any bundle of people"
    nearest, intent = annotated[errors.nearest]
    if "correct" in errors.types:
        return f"correct; people wanted: {intent}"
    parts = []
    if errors.extra:
        parts.append(f"contains the irrelevant products {_numbers(errors.extra)}")
    if errors.lacking:
        parts.append(f"misses the products {_numbers(errors.lacking)}")
    return f"{' and '.join(parts)}; the bundle is {_numbers(nearest)}, people wanted: {intent}"


def _numbers(positions: Sequence[int] | frozenset[int]) -> str:
    return ",".join(map(str, sorted(positions)))
