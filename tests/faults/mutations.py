"""Changes inputs at random."""

import random
from collections.abc import Sequence


def mutated(chance: random.Random, examples: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    """Change one of the examples in one to eight places."""
    data = bytearray(chance.choice(examples))
    for _ in range(chance.choice((1, 1, 2, 3, 5, 8))):
        at = chance.randint(0, len(data))
        to = min(len(data), at + chance.choice((1, 1, 2, 4, 8, 40)))
        match chance.randrange(7):
            case 0 if at < len(data):
                data[at] ^= 1 << chance.randrange(8)
            case 1:
                data[at:to] = b""
            case 2:
                data[at:at] = data[at:to] * chance.choice((1, 2, 50))
            case 3 if words:
                data[at:at] = chance.choice(words)
            case 4 if words:
                word = chance.choice(words)
                data[at : at + len(word)] = word
            case 5:
                data[at:] = chance.choice(examples)[chance.randint(0, len(data)) :]
            case _:
                data[at:to] = chance.randbytes(to - at)
    return bytes(data)
