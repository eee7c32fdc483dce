"""Which sessions of a split something is about, in words."""

from store.records import Split

SPLIT_WORDS: dict[Split, str] = {"train": "training", "valid": "validation", "test": "test"}


def subset_in_words(split: Split, sessions: int, of: int, seed: int | None) -> str:
    """So many sessions of a split: how many there are, and how they were chosen.

    Args:
        sessions, of: how many, and how many the split has.
        seed: by which they were drawn; None where they are the first as imported, as in runs of earlier
            versions.
    """
    noun = f"{SPLIT_WORDS[split]} session{'' if of == 1 else 's'}"
    if sessions >= of:
        return f"all {of:,} {noun}" if of != 1 else f"the only {noun}"
    if seed is None:
        return f"the first {sessions:,} of {of:,} {noun}, as imported"
    return f"{sessions:,} of {of:,} {noun}, drawn by chance, seed {seed}"
