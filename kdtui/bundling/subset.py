"""Descriptions of subsets of a split, in words."""

from store.records import Split

SPLIT_WORDS: dict[Split, str] = {"train": "training", "valid": "validation", "test": "test"}


def subset_in_words(split: Split, sessions: int, of: int, seed: int | None) -> str:
    """Describe a subset of a split: its size, and how it was selected.

    Args:
        sessions, of: size of the subset, and of the split.
        seed: seed of the draw; None for the first sessions in import order, as in runs of earlier versions.
    """
    noun = f"{SPLIT_WORDS[split]} session{'' if of == 1 else 's'}"
    if sessions >= of:
        return f"all {of:,} {noun}" if of != 1 else f"the only {noun}"
    if seed is None:
        return f"the first {sessions:,} of {of:,} {noun}, in import order"
    return f"{sessions:,} of {of:,} {noun}, drawn at random, seed {seed}"
