"""What is made smaller: the cross entropy of the answers, with no logits computed where there is no answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.sft.examples import Example

_ROWS = 512
"""Rows of logits that are there at a time; each takes four bytes per word of the vocabulary, several times over."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Examples as tensors.

    Attributes:
        tokens: (examples, length).
        places: (examples, length), the position of each token; branches all begin where the prompt ends.
        mask: (examples, 1, length, length), who sees whom; None where each token sees all before it.
        rows, columns: (answers,), where each token of an answer is predicted.
        targets: (answers,), what is to be predicted there.
    """

    tokens: Tensor
    places: Tensor
    mask: Tensor | None
    rows: Tensor
    columns: Tensor
    targets: Tensor

    def to(self, device: torch.device) -> "Batch":
        """The same on a device."""
        mask = None if self.mask is None else self.mask.to(device)
        tensors = (self.rows.to(device), self.columns.to(device), self.targets.to(device))
        return Batch(self.tokens.to(device), self.places.to(device), mask, *tensors)


def collate(examples: Sequence[Example]) -> Batch:
    """One tensor of examples, padded at the end. The last token of an answer is a target only, and is not read."""
    length = max(_read(example) for example in examples)
    tokens = torch.zeros(len(examples), length, dtype=torch.long)
    # They go on through the padding: where they begin anew, transformers sees several texts in a row, and makes a mask.
    places = torch.arange(length).repeat(len(examples), 1)
    # 0 for the prompt, n for branch n, -1 for padding.
    part = torch.full((len(examples), length), -1)
    rows, columns, targets = [], [], []
    for row, example in enumerate(examples):
        start = len(example.prompt)
        tokens[row, :start] = torch.tensor(example.prompt)
        part[row, :start] = 0
        end = start
        for number, branch in enumerate(example.branches, start=1):
            first, end = end, end + len(branch.tokens) - 1
            read = end - first
            tokens[row, first:end] = torch.tensor(branch.tokens[:-1])
            places[row, first:end] = torch.arange(start, start + read)
            part[row, first:end] = number
            for at in range(len(branch.tokens) - branch.learned, len(branch.tokens)):
                rows.append(row)
                # The first token of a branch is predicted by the last one of the prompt.
                columns.append(first + at - 1 if at else start - 1)
                targets.append(branch.tokens[at])
    mask = None
    if any(len(example.branches) > 1 for example in examples):
        before = torch.ones(length, length, dtype=torch.bool).tril()
        same = part[:, :, None] == part[:, None, :]
        mask = (before & (same | (part == 0)[:, None, :]))[:, None]
    return Batch(tokens, places, mask, torch.tensor(rows), torch.tensor(columns), torch.tensor(targets))


def _read(example: Example) -> int:
    return example.length - len(example.branches)


class Objective(nn.Module):  # type: ignore[misc]
    """The sum of the losses of a batch's answers, in nats.

    Args:
        model: a causal language model of transformers, with or without an adapter.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch) -> Tensor:
        hidden = self._hidden(batch)
        loss = hidden.new_zeros((), dtype=torch.float32)
        for first in range(0, len(batch.targets), _ROWS):
            targets = batch.targets[first : first + _ROWS]
            loss = loss + functional.cross_entropy(
                self._logits(hidden[first : first + _ROWS]), targets, reduction="sum"
            )
        return loss

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def log_probabilities(self, batch: Batch, among: Tensor) -> tuple[Tensor, Tensor]:
        """Of each token of an answer the log probability, (answers,), and logits of some tokens, (answers, among)."""
        hidden = self._hidden(batch)
        found, chosen = [], []
        for first in range(0, len(batch.targets), _ROWS):
            logits = self._logits(hidden[first : first + _ROWS])
            targets = batch.targets[first : first + _ROWS, None]
            found.append(logits.log_softmax(-1).gather(1, targets)[:, 0])
            chosen.append(logits[:, among])
        return torch.cat(found), torch.cat(chosen)

    def _hidden(self, batch: Batch) -> Tensor:
        """(answers, width): the last hidden states where answers are predicted."""
        decoder = self._causal.get_decoder()
        states: Tensor = decoder(
            input_ids=batch.tokens, position_ids=batch.places, attention_mask=self._mask(batch), use_cache=False
        ).last_hidden_state
        return states[batch.rows, batch.columns]

    def _mask(self, batch: Batch) -> Tensor | dict[str, Tensor] | None:
        """Who sees whom, for this base: one with a sliding window would see beyond it by a mask of ours."""
        config = self._causal.config.get_text_config()
        window = getattr(config, "sliding_window", None)
        if batch.mask is None or window is None:
            return batch.mask
        near = batch.mask & (batch.places[:, :, None] - batch.places[:, None, :] < window)[:, None]
        if getattr(config, "layer_types", None) is None:
            return near
        return {"full_attention": batch.mask, "sliding_attention": near}

    def _logits(self, hidden: Tensor) -> Tensor:
        logits: Tensor = self._causal.get_output_embeddings()(hidden)
        return logits.float()

    @property
    def _causal(self) -> Any:
        return self.model.get_base_model() if hasattr(self.model, "get_base_model") else self.model
