"""How samples were drawn, in words. It is apart from what draws them, which takes long to import."""

from kdtui.text import counted
from store.samples import Sample

BY_HAND = "hand"
"""The strategy of what was picked piece by piece."""


def how_drawn(sample: Sample) -> str:
    """How a sample was drawn; what its parts have in common is said once."""
    ways: dict[str, list[str]] = {}
    # How many were picked is known where there is nothing else in it.
    sources = {(draw.dataset, draw.strategy) for draw in sample.draws}
    picked = counted(sample.pieces, "piece") if len(sources) == 1 else "pieces"
    for draw in sample.draws:
        if draw.strategy == BY_HAND:
            way = f"{picked} of {draw.dataset} by hand"
        else:
            way = f"{draw.ratio:g} of {draw.dataset} by {draw.strategy}, seed {draw.seed}"
        ways.setdefault(way, []).append(f"{draw.format}s")
    return "; ".join(f"{way}: {', '.join(dict.fromkeys(formats))}" for way, formats in ways.items())
