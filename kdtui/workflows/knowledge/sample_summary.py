"""How samples were drawn, in words. Apart from the module that draws them, which imports slowly."""

from kdtui.text import counted
from store.samples import Sample

BY_HAND = "hand"
"""The strategy of samples that were picked by hand."""


def draws_in_words(sample: Sample) -> str:
    """Say how a sample was drawn. What its parts have in common is said once."""
    ways: dict[str, list[str]] = {}
    # The number of picked pieces is known only if the sample has no other pieces.
    sources = {(draw.dataset, draw.strategy) for draw in sample.draws}
    picked = counted(sample.pieces, "piece") if len(sources) == 1 else "pieces"
    for draw in sample.draws:
        if draw.strategy == BY_HAND:
            way = f"{picked} of {draw.dataset} by hand"
        else:
            way = f"{draw.ratio:g} of {draw.dataset} by {draw.strategy}, seed {draw.seed}"
        ways.setdefault(way, []).append(f"{draw.format}s")
    return "; ".join(f"{way}: {', '.join(dict.fromkeys(formats))}" for way, formats in ways.items())
