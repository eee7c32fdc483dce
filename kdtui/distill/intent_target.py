"""The intents of people, made fit to learn from: they come with quotes, line breaks and capitals of all kinds."""

from kdtui.text import one_line

_LONGEST = 6
"""Words; a longer text is a remark, and students write five at most."""

_AROUND = " \"'`“”‘’.,;:!?-–—*()[]"
"""What stands around an intent and does not belong to it."""


def intent_target(intent: str) -> str | None:
    """The intent as a student should write it: on one line, without quotes, and with one capital, at its beginning.

    Words in capitals or mixed letters (USB, iPad) stay as they are, and so do capitals in a text that has small words,
    which are names.

    Returns:
        None where there is nothing to learn: an intent without a letter, or one that is too long.
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
