"""The answers of students to one session, and their comparison with the true bundles."""

from collections.abc import Sequence

from rich.text import Text
from textual.widget import Widget

from kdtui.bundling.comparison import BundleMatch, bundle_differences, match_bundle, pair_counts
from kdtui.bundling.metrics import Bundles, score
from kdtui.text import letter
from kdtui.tui.core.choice import StudentChoice
from kdtui.tui.core.generation import GenerationRequest
from kdtui.tui.student.bundle_panel import BundleLine
from kdtui.tui.widgets.letters import badges, tone
from models.bundle_list import WrittenBundle
from store.records import Bundle

SIDE_NAMES = ("1st", "2nd")
"""The names of the two sides of a comparison: letters stand for bundles, and numbers for products."""


class StudentAnswer:
    """A student with its settings, and its answer to the session."""

    def __init__(self, choice: StudentChoice) -> None:
        self.choice = choice
        self.clear()

    def clear(self) -> None:
        """Forget the answer."""
        self.asked: StudentChoice | None = None
        self.request: GenerationRequest | None = None
        self.state = ""
        self.is_done = False
        self._written: dict[int, WrittenBundle] = {}

    def begin(self, request: GenerationRequest) -> None:
        """Start a new answer."""
        self.clear()
        self.asked, self.request = request.choice, request

    def write(self, bundle: WrittenBundle) -> bool:
        """Store a bundle as far as it is written; return whether it is new."""
        is_new = bundle.number not in self._written
        self._written[bundle.number] = bundle
        return is_new

    @property
    def bundles(self) -> list[WrittenBundle]:
        """The bundles, in the order in which they were started."""
        return [bundle for _, bundle in sorted(self._written.items())]

    @property
    def sets(self) -> list[frozenset[int]]:
        """The positions of each bundle."""
        return [frozenset(bundle.positions) for bundle in self.bundles]

    def letters(self, position: int) -> Text:
        """Return the letters of the bundles that contain a product."""
        return badges([at for at, bundle in enumerate(self.bundles) if position in bundle.positions], lower=True)

    def matches(self, truth: Bundles) -> list[BundleMatch]:
        """Compare each bundle with the nearest true one."""
        return [match_bundle(truth, each) for each in self.sets]


def true_bundle_lines(
    widget: Widget, bundles: Sequence[Bundle], truth: Bundles, sides: Sequence[StudentAnswer]
) -> list[BundleLine]:
    """Return the lines of the true bundles, each with a remark on how the finished sides found it.

    Args:
        widget: provides the colours.
    """
    return [
        BundleLine(each.positions, each.intent, remark=_remark_of_true(widget, number, truth, sides))
        for number, each in enumerate(bundles)
    ]


def _remark_of_true(widget: Widget, number: int, truth: Bundles, sides: Sequence[StudentAnswer]) -> Text:
    """Say which generated bundles equal a true one or come near, or that it is missing."""
    remarks = []
    for name, side in zip(SIDE_NAMES, sides, strict=False):
        if not side.is_done:
            continue
        matches = [(at, each) for at, each in enumerate(side.matches(truth)) if each.true == number]
        right = next((at for at, each in matches if each.is_right), None)
        if right is not None:
            text, style = f"= {letter(right, lower=True)}", tone(widget, "success")
        elif matches:
            text, style = f"~ {' '.join(letter(at, lower=True) for at, _ in matches)}", tone(widget, "warning")
        else:
            text, style = "missing", tone(widget, "error")
        remarks.append(Text(f"{name} {text}" if len(sides) > 1 else text, style=style))
    return Text(" ").join(remarks)


def written_bundle_lines(widget: Widget, side: StudentAnswer, truth: Bundles) -> list[BundleLine]:
    """Return the lines of the bundles that a student has written, compared with the true ones if those are known."""
    return [
        BundleLine(
            bundle.positions,
            bundle.intent if bundle.complete else f"{bundle.intent}…",
            bundle.confidence,
            _remark_of_written(widget, nearest) if truth else Text(),
        )
        for bundle, nearest in zip(side.bundles, side.matches(truth), strict=True)
    ]


def _remark_of_written(widget: Widget, nearest: BundleMatch) -> Text:
    """Say which products a bundle has too many, and which it lacks, compared with the nearest true one."""
    if nearest.true is None:
        return Text("wrong", style=tone(widget, "error"))
    if nearest.is_right:
        return Text(f"= {letter(nearest.true)}", style=tone(widget, "success"))
    changes = [*(f"+{each}" for each in nearest.extra), *(f"−{each}" for each in nearest.lacking)]
    return Text(f"~ {letter(nearest.true)} {' '.join(changes)}", style=tone(widget, "warning"))


def scores_in_words(sides: Sequence[StudentAnswer], truth: Bundles) -> str:
    """Return the scores of each side, if the true bundles are known, and how two answers differ; a line each."""
    lines = []
    for name, side in zip(SIDE_NAMES, sides, strict=False):
        if side.is_done and truth:
            scores = _scores(truth, side.sets)
            lines.append(f"{name}  {scores}" if len(sides) > 1 else scores)
    if len(sides) > 1 and all(side.is_done for side in sides):
        lines.append(_difference(*(side.sets for side in sides)))
    return "\n".join(lines)


def _difference(one: Bundles, other: Bundles) -> str:
    only = bundle_differences(one, other)
    parts = [f"alike: {len(one) - len(only[0])}"]
    parts += [
        f"only {name}: {' '.join(letter(number, lower=True) for number in numbers) or 'none'}"
        for name, numbers in zip(SIDE_NAMES, only, strict=True)
    ]
    return " · ".join(parts)


def _scores(truth: Bundles, predicted: Bundles) -> str:
    """Return the scores of one session in a line."""
    scores = score([truth], [predicted])
    right, extra, missing = pair_counts(truth, predicted)
    return (
        f"pair F1 {scores.pair_f1:.2f} ({right} right, {extra} extra, {missing} missing)"
        f" · strict P {scores.strict_precision:.2f}, R {scores.strict_recall:.2f}"
    )
