"""The prompt for a student: instructions, the products of a session, and the knowledge that applies to it."""

import json
from collections.abc import Sequence

from kdtui.bundling.truth import minimal_bundles
from kdtui.text import one_line
from models.messages import Message
from models.student_protocol import Form
from store.records import CategoryPath, Item, Session

TITLE_LENGTH = 80
"""Characters; later parts of a title rarely matter, and every token costs time."""

_INSTRUCTIONS = """\
You group the products of a shopping session into bundles. A bundle is two or more of the products that are bought \
together, because they complement each other or are alternatives. Products that fit no bundle are left out.
"""
# No example: a small model copies its numbers and its intent into every answer.
_ANSWERS: dict[Form, str] = {
    "list": "Write one line per bundle: its products, a colon, and what shoppers want them for, in three to five "
    "words.",
    "pairs": "For the numbers of two products, say yes if they belong in one bundle, or no. For the numbers of a "
    "bundle and a colon, write what shoppers want it for, in three to five words.",
    "json": 'Write JSON: {"bundles": [{"products": [numbers of its products], "intent": "what shoppers want them for, '
    'in three to five words"}]}',
}


def session_messages(
    session: Session,
    hints: Sequence[tuple[tuple[int, ...], str]] = (),
    form: Form = "list",
    *,
    rules: Sequence[str] = (),
    examples: Sequence[str] = (),
    demonstrations: Sequence[Session] = (),
) -> list[Message]:
    """Return the messages that ask for the bundles of a session.

    Args:
        hints: bundles that the knowledge suggests, as positions and a name, best first.
        form: required form of the answer.
        rules: which products to put together, and which to leave apart.
        examples: how other sessions were bundled. They come first, as the text nearest to the answer counts most.
        demonstrations: other sessions with their true bundles, in the form of the answer.
    """
    lines = [f"Another session: {one_line(example)}\n" for example in examples]
    for other in demonstrations:
        lines += [*_products(other), "", "Answer:", *_answer(other, form), ""]
    lines += _products(session)
    if rules:
        lines += ["", "Rules:", *map(one_line, rules)]
    if hints:
        lines += ["", "Likely bundles:"]
        lines += [f"{','.join(map(str, positions))}: {one_line(name, TITLE_LENGTH)}" for positions, name in hints]
    return [Message("system", _INSTRUCTIONS + _ANSWERS[form]), Message("user", "\n".join(lines))]


def _products(session: Session) -> list[str]:
    return ["Products:", *(f"{number}. {_product(item)}" for number, item in enumerate(session.items, start=1))]


def _answer(session: Session, form: Form) -> list[str]:
    """Return the true bundles of a session, in the form of an answer."""
    named = [(bundle.positions, one_line(bundle.intent, TITLE_LENGTH)) for bundle in minimal_bundles(session.bundles)]
    if form == "json":
        return [json.dumps({"bundles": [{"products": positions, "intent": intent} for positions, intent in named]})]
    return [f"{','.join(map(str, positions))}: {intent}" for positions, intent in named]


def _product(item: Item) -> str:
    title = one_line(item.title or "", TITLE_LENGTH) or "(no title)"
    return f"{title} [{_category(item.categories[0])}]" if item.categories else title


def _category(path: CategoryPath) -> str:
    """Return the second and third name of a path: the first is the same for a whole shop, and the last are narrow."""
    return one_line(" > ".join(path[1:3] or path), TITLE_LENGTH)
