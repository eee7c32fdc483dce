"""One vector for each of several texts, computed together in a batch of llama.cpp."""

import ctypes
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from models.errors import Cancelled, ModelError
from models.llama import cancellation
from models.llama.bindings import llama_cpp
from models.llama.model import LlamaModel, watched
from models.llama.threads import FreeProcessors
from models.vocabulary import Token

_SEQUENCES = 64
"""Most texts in a batch."""


class PooledContext:
    """Computes vectors with a model: pooled as its file says, or else as the mean of the last hidden states.

    Args:
        batch: tokens that are computed together; no text may have more.

    Raises:
        ModelError: there is no memory for it, or the model scores texts instead of making vectors of them.
    """

    def __init__(self, model: LlamaModel, *, batch: int) -> None:
        self._model = model
        self._batch_size = batch
        self._width = int(llama_cpp.llama_model_n_embd_out(model.handle))
        # One text takes milliseconds: a second thread gains little, and costs a quarter of a second on a busy
        # processor.
        self._free_processors = FreeProcessors(first=1)
        self._batch = llama_cpp.llama_batch_init(batch, 0, 1)
        self._context: ctypes.c_void_p | None = self._opened(llama_cpp.LLAMA_POOLING_TYPE_UNSPECIFIED)
        pooling = llama_cpp.llama_pooling_type(self._context)
        if pooling == llama_cpp.LLAMA_POOLING_TYPE_NONE:
            cancellation.call_briefly(llama_cpp.llama_free, self._context)
            self._context = self._opened(llama_cpp.LLAMA_POOLING_TYPE_MEAN)
        elif pooling == llama_cpp.LLAMA_POOLING_TYPE_RANK:
            self.close()
            raise ModelError(f"{model.path}: this model scores texts, and makes no vectors")

    def _opened(self, pooling: int) -> ctypes.c_void_p:
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = params.n_batch = params.n_ubatch = self._batch_size
        params.n_seq_max = _SEQUENCES
        params.kv_unified = True
        params.embeddings = True
        params.pooling_type = pooling
        params.n_threads = params.n_threads_batch = self._free_processors()
        params.no_perf = True
        opened = cancellation.call(cancellation.current(), llama_cpp.llama_init_from_model, self._model.handle, params)
        if not opened:
            raise ModelError(f"{self._model.path}: no memory for a batch of {self._batch_size:,} tokens")
        handle: ctypes.c_void_p = opened
        return handle

    @property
    def width(self) -> int:
        """Numbers in a vector."""
        return self._width

    def close(self) -> None:
        """Free the context."""
        if self._context:
            llama_cpp.llama_batch_free(self._batch)
            cancellation.call_briefly(llama_cpp.llama_free, self._context)
            self._context = None

    def vectors(self, texts: Sequence[Sequence[Token]]) -> npt.NDArray[np.float32]:
        """Return an array (texts, width) of vectors that are not scaled.

        Raises:
            Cancelled: the cancellation in force was cancelled.
            ModelError: llama.cpp fails.
        """
        rows = np.empty((len(texts), self._width), np.float32)
        done = 0
        for part in self._batches(texts):
            self._compute(part)
            for sequence in range(len(part)):
                row = llama_cpp.llama_get_embeddings_seq(self._context, sequence)
                rows[done + sequence] = np.ctypeslib.as_array(row, shape=(self._width,))
            done += len(part)
        return rows

    def _batches(self, texts: Sequence[Sequence[Token]]) -> Iterator[list[Sequence[Token]]]:
        part: list[Sequence[Token]] = []
        size = 0
        for tokens in texts:
            if part and (size + len(tokens) > self._batch_size or len(part) == _SEQUENCES):
                yield part
                part, size = [], 0
            part.append(tokens)
            size += len(tokens)
        if part:
            yield part

    def _compute(self, part: Sequence[Sequence[Token]]) -> None:
        batch = self._batch
        end = 0
        for sequence, tokens in enumerate(part):
            for position, token in enumerate(tokens):
                batch.token[end] = token
                batch.pos[end] = position
                batch.n_seq_id[end] = 1
                batch.seq_id[end][0] = sequence
                batch.logits[end] = 1
                end += 1
        batch.n_tokens = end
        threads = self._free_processors()
        llama_cpp.llama_set_n_threads(self._context, threads, threads)
        # An encoder has no cache and needs none; that of a language model has to be emptied.
        if memory := llama_cpp.llama_get_memory(self._context):
            llama_cpp.llama_memory_clear(memory, True)
        wish = cancellation.current()
        with watched(self._context, wish):
            status = cancellation.call(wish, llama_cpp.llama_decode, self._context, batch)
        if wish.is_cancelled:
            raise Cancelled
        if status:
            raise ModelError(f"{self._model.path}: this model makes no vectors (llama.cpp's status is {status})")
