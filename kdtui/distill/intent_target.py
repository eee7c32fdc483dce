"""Annotated intents cleaned up for training: the originals have quotes, line breaks and inconsistent capitals."""

from kdtui.text import one_line

_LONGEST = 6
"""Words; a longer text is a remark, and students write at most five."""

_AROUND = " \"'`“”‘’.,;:!?-–—*()[]"
"""Characters around an intent that do not belong to it."""


def intent_target(intent: str) -> str | None:
    """Return the intent as a student should write it: on one line, without quotes, capitalized at the beginning only.

    Words in upper or mixed case (USB, iPad) stay as they are. So do capitalized words in a text with lower-case words,
    as they are names.

    Returns:
        None if there is nothing to learn: the intent has no letter, or is too long.
    """
    words = one_line(intent).strip(_AROUND).split()
    if not any(character.isalpha() for word in words for character in word) or len(words) > _LONGEST:
        return None
    if all(word.isupper() for word in words) and len("".join(words)) > 4:
        words = [word.lower() for word in words]
    is_title = not any(word.islower() for word in words[1:])
    first, *rest = words
    if first.islower():
        first = first[0].upper() + first[1:]
    return " ".join([first, *(word.lower() if is_title and word.istitle() else word for word in rest)])
