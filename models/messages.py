"""Messages to and from a model."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation. `content` can hold anything; it cannot leave its turn."""

    role: Literal["system", "user", "assistant"]
    content: str
