"""What can go wrong with a model, said in one sentence."""


class ModelError(Exception):
    """A model cannot be used as asked; the message is one sentence for the user."""


class PromptTooLong(ModelError):
    """A prompt, with the room its answer may need, does not fit the context."""


class Cancelled(Exception):
    """What a model was asked is not wanted any more. It is no error, and nothing may take it for one."""


def no_numbers(file: str) -> str:
    """That the model of a file computes no numbers, and what to do about it."""
    return f"{file}: the model computes no numbers; its weights are damaged, so fetch or quantize it anew"
