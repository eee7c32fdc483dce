"""Decodes a few tokens in a process of its own (`models.subprocess_call`), because a bad build of llama.cpp crashes.

Some compilers drop a part of llama.cpp's code for AMX tiles, and the rest crashes (ggml-org/llama.cpp, issue 20824).
"""

from models.embedded import embedded_student
from models.llama.context import LlamaContext, TokenRun
from models.llama.model import LlamaModel


def main() -> None:
    """Decode enough tokens to take the code path of prompts, and one token for the code path of answers."""
    model = LlamaModel(embedded_student())
    context = LlamaContext(model, cells=256, batch=128, threads=1, flash=False)
    tokens = model.tokenize("bundles of products " * 30)[:100]
    context.decode([TokenRun(0, 0, tokens, wanted=1)])
    context.decode([TokenRun(0, len(tokens), tokens[:1], wanted=1)])
    context.close()
    model.close()
