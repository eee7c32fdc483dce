"""Sessions that make tests fast."""

from typing import Any


def few_products(session: dict[str, Any]) -> dict[str, Any]:
    """Keep the first bundle of a session, and a product outside of its bundles, if there is one."""
    first, *others = session["bundles"] or [{"items": []}]
    bundled = {item for bundle in (first, *others) for item in bundle["items"]}
    alone = [item["id"] for item in session["items"] if item["id"] not in bundled][:1]
    items = [item for item in session["items"] if item["id"] in [*first["items"], *alone]]
    return {**session, "items": items, "bundles": [first] if first["items"] else []}
