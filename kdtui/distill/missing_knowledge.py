"""Messages about missing knowledge: why a prompt cannot show it, and what the user can do."""

from collections.abc import Mapping
from shlex import quote

from kdtui.text import counted
from store.knowledge import known_formats
from store.records import Format
from store.samples import count_contents
from store.sqlite import Database

_HOW_TO_GET: Mapping[Format, str] = {
    "pattern": "kdtui knowledge mine",
    "rule": "kdtui knowledge distill --format rule",
    "thought": "kdtui knowledge distill --format thought",
}


def explain_missing_knowledge(
    db: Database, dataset: str, format: Format, sample: str | None, domains: str = "own"
) -> str:
    """Explain that a dataset, or a sample, has no kept piece of a format, and what to do.

    Args:
        domains: as in `RunSettings`.

    Raises:
        NotFound: there is no such dataset, or no such sample.
    """
    formats = known_formats(db, dataset)
    make = f"{_HOW_TO_GET[format]} --dataset {quote(dataset)}"
    if sample is None:
        return f"dataset {dataset!r} has no {format}s yet; find some with: {make}"
    held = count_contents(db, sample)
    what = _in_words(held)
    if domains == "all":
        usable = list(dict.fromkeys(each for _, each, status in held if status == "kept"))
        instead = f"show --knowledge {','.join(usable)}, or draw another" if usable else "draw another"
        return f"sample {sample!r} has no kept {format}s; it has {what}. {instead[0].upper()}{instead[1:]}"
    lacks = f"sample {sample!r} has no kept {format}s of dataset {dataset!r}; it has {what}"
    if any(other != dataset and each == format and status == "kept" for other, each, status in held):
        lacks += "; --domains all shows those of other datasets, too"
    if format not in formats:
        return f"{lacks}. The dataset has none either: find some with {make}, and draw a sample with them"
    draw = f"kdtui sample create NAME --add-to {quote(sample)} --dataset {quote(dataset)} --format {format}"
    usable = [each for each in formats if held.get((dataset, each, "kept"))]
    instead = f", or show --knowledge {','.join(usable)}" if usable else ""
    return f"{lacks}. Add some with {draw}{instead}, or leave out --sample"


def _in_words(held: Mapping[tuple[str, str, str], int]) -> str:
    """Describe the pieces of a sample, dataset by dataset."""
    by_dataset: dict[str, list[str]] = {}
    for (dataset, format, status), count in held.items():
        kept = "" if status == "kept" else " (rejected)"
        by_dataset.setdefault(dataset, []).append(f"{counted(count, format)}{kept}")
    parts_of = (f"{', '.join(parts)} of {dataset}" for dataset, parts in by_dataset.items())
    return "; ".join(parts_of) or "no pieces left"
