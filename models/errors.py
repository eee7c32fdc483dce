"""What can go wrong with a model, said in one sentence."""


class ModelError(Exception):
    """A model cannot be used as asked; the message is one sentence for the user."""


class PromptTooLong(ModelError):
    """A prompt, with the room its answer may need, does not fit the context."""
