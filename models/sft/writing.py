"""Greedy generation after prompts, in batches."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from models.chat import ChatTokenizer
from models.sft.base import HubVocabulary
from models.vocabulary import Token


def write_greedily(
    model: Any,
    prompts: Sequence[Sequence[Token]],
    vocabulary: HubVocabulary,
    device: torch.device,
    *,
    most: int,
    tokens: int,
    between: Callable[[], object] = lambda: None,
) -> list[str]:
    """Return the text after each prompt, up to the end of the answer.

    Args:
        most: tokens of a text.
        tokens: of a batch, including padding and the new text.
        between: called after each batch; it can raise an exception to end this.
    """
    end = ChatTokenizer(vocabulary).end
    texts = [""] * len(prompts)
    # Prompts of similar length share a batch, so that there is little padding.
    waiting = sorted(range(len(prompts)), key=lambda at: -len(prompts[at]))
    while waiting:
        longest = len(prompts[waiting[0]])
        rows = max(1, tokens // (longest + most))
        batch, waiting = waiting[:rows], waiting[rows:]
        # Padded at the beginning: the new text follows the end of each prompt.
        read = torch.full((len(batch), longest), end)
        mask = torch.zeros_like(read)
        for row, at in enumerate(batch):
            read[row, longest - len(prompts[at]) :] = torch.tensor(prompts[at])
            mask[row, longest - len(prompts[at]) :] = 1
        with torch.no_grad():
            answers = model.generate(
                input_ids=read.to(device),
                attention_mask=mask.to(device),
                do_sample=False,
                max_new_tokens=most,
                eos_token_id=end,
                pad_token_id=end,
            )[:, longest:]
        for at, answer in zip(batch, answers.tolist(), strict=True):
            texts[at] = vocabulary.text(answer[: answer.index(end)] if end in answer else answer)
        between()
    return texts
