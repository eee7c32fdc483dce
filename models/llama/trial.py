"""Loads a model that nobody has loaded before, and does a bit of everything with it; see `models.llama.first_load`.

It runs in a process of its own, which llama.cpp can end.
"""

from contextlib import closing, suppress
from pathlib import Path

from models.errors import ModelError
from models.files.gguf_vectors import gguf_layout
from models.llama.context import LlamaContext, TokenRun
from models.llama.embedding import LocalEmbedder
from models.llama.first_load import Use
from models.llama.model import LlamaModel, can_use_gpu
from models.llama.model_header import meta_values

_CELLS, _BATCH = 512, 256

_TOKENS = 9
"""Tokens that are decoded: enough for the code that takes eight at a time, and the code that takes one."""

_MEMORY = 4 << 30
"""Bytes that a model can use besides four times the size of its file."""

_WORDS = "bundles of products"

_EVERY_BYTE = "".join(
    map(
        chr,
        (
            *range(0xC0),
            *(lead << 6 for lead in range(3, 0x20)),
            *(0x800, *(lead << 12 for lead in range(1, 0x10))),
            *(0x10000, *(lead << 18 for lead in range(1, 5))),
        ),
    )
)
"""A text with all bytes that UTF-8 has: llama.cpp can end the process at one that the vocabulary lacks."""


def load(path: str, use: Use) -> None:
    """Load a model and use it.

    Raises:
        ModelError: the file is damaged, or llama.cpp cannot load it.
    """
    file = Path(path)
    _limit(file)
    # llama.cpp reserves memory for what a file claims to hold.
    gguf_layout(file, "model")
    if use == "vectors":
        # Vectors that are not numbers are reported with the texts that they are computed for.
        with LocalEmbedder(file, tokens=_TOKENS, trusted=True) as embedder, suppress(ModelError):
            embedder.embed([_WORDS])
            embedder.embed([_EVERY_BYTE, _WORDS])
        return
    with closing(LlamaModel(file, vocabulary_only=use == "vocabulary", trusted=True)) as model:
        _read(model)
        if use == "text":
            _decode(model)


def _limit(file: Path) -> None:
    """Have the system end this process rather than others if the model fills the memory, and without a dump of it."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    with suppress(ImportError):
        import resource

        # Not on systems without these limits.
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            # Drivers of GPUs reserve more than they use.
            if not can_use_gpu():
                most = _MEMORY + 4 * file.stat().st_size
                resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def _read(model: LlamaModel) -> None:
    meta_values(model.handle)
    model.chat_template()
    model.token_text(model.end_of_turn())
    for token in range(model.vocab_size):
        model.text_piece(token)
    for special in (False, True):
        model.tokenize(_EVERY_BYTE, special=special, start=special)


def _decode(model: LlamaModel) -> None:
    tokens = (model.tokenize(_WORDS * _TOKENS, start=True) or [0])[:_TOKENS]
    context = LlamaContext(model, cells=_CELLS, batch=_BATCH, threads=1, flash=can_use_gpu())
    # Values that are not numbers are reported with the session that they are computed for.
    with closing(context), suppress(ModelError):
        context.decode([TokenRun(0, 0, tokens, wanted=1)])
        context.copy(0, 1, len(tokens))
        context.decode([TokenRun(1, len(tokens), tokens[:1], wanted=1)])
        context.remove(1, len(tokens) - 1)
