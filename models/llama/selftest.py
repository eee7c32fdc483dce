"""Decode a few tokens, in a process of its own (`models.subprocess_call`): a bad build of llama.cpp ends the process.

Compilers drop a part of llama.cpp's code for AMX tiles, and what is left crashes (ggml-org/llama.cpp, issue 20824).
"""

from models.embedded import embedded_student
from models.llama.context import LlamaContext, TokenRun
from models.llama.model import LlamaModel


def main() -> None:
    """Read as many tokens as take the path of prompts, and one that takes the path of answers."""
    model = LlamaModel(embedded_student())
    context = LlamaContext(model, cells=256, batch=128, threads=1, flash=False)
    tokens = model.tokenize("bundles of products " * 30)[:100]
    context.decode([TokenRun(0, 0, tokens, wanted=1)])
    context.decode([TokenRun(0, len(tokens), tokens[:1], wanted=1)])
    context.close()
    model.close()
