"""Quality of intents, written for the true bundles of validation sessions, so that only the intents differ.

    python -m benchmarks.intents DATA [--encoder GGUF] [--adapter GGUF] [--full PEFT_FOLDER]

DATA is a folder with `electronic` and `clothing` in the BundleRec layout. The student is compared with the category
that the products share and with the intent of the nearest training bundle, in token F1, ROUGE-L and, with a sentence
encoder as a GGUF file, in the cosine to the intents that people wrote. The 95 % intervals come from 2,000 resamples of
sessions, the same for all. `--full` also writes the intents with the adapter in full precision, and counts equal texts.
"""

import argparse
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter, process_time
from typing import cast

import numpy as np
import numpy.typing as npt
from platformdirs import user_cache_path

from kdtui.bundling.intent_metrics import MatchedIntent, closest_score, match_intents, rouge_l, token_f1
from kdtui.bundling.intent_prompt import INTENT_MESSAGES, intent_question
from kdtui.bundling.truth import minimal_bundles
from kdtui.distill.category_intent import category_intent
from kdtui.distill.nearest_intent import NearestIntents, Vectors
from kdtui.workflows.data.import_dataset import import_dataset
from models.bundle_list import WrittenBundle
from models.chat import ChatTokenizer
from models.embedded import embedded_student, shipped_adapter
from models.llama.answer_tokens import AnswerTokens
from models.llama.embedding import LocalEmbedder
from models.llama.engine import AnswerPlan
from models.llama.fast_base import open_embedded_student
from models.llama.strategies.base import Emit
from models.llama.strategies.intents import plan_intents
from models.student_protocol import Adapter, Answered, IntentPrompt, SessionTask
from store.database import open_database
from store.records import Item, Session
from store.sessions import iter_sessions

_DATASETS = ("electronic", "clothing")
_RESAMPLES = 2000
_BATCH = 64

Intents = dict[str, list[str]]
"""For each session, the intents of its true bundles."""


class _TrueBundles:
    """A strategy that writes intents for the bundles that people made."""

    def plan(self, task: SessionTask, chat: ChatTokenizer, answer: AnswerTokens, _: int, emit: Emit) -> AnswerPlan:
        assert task.intents is not None
        bundles = [
            WrittenBundle(number, bundle.positions, "", 1.0, complete=False)
            for number, bundle in enumerate(minimal_bundles(cast("Session", task.key).bundles))
        ]
        return plan_intents(task.intents, bundles, chat, answer, emit)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--encoder", type=Path, help="a sentence encoder as GGUF, for cosines and the nearest bundle")
    parser.add_argument("--adapter", type=Path, help="a LoRA adapter as GGUF; by default the shipped one")
    parser.add_argument("--full", type=Path, help="the same adapter as a PEFT folder")
    given = parser.parse_args()
    embed = None if given.encoder is None else _remembering(given.encoder)
    with tempfile.TemporaryDirectory() as name:
        db = open_database(Path(name) / "kdtui.db")
        for dataset in _DATASETS:
            list(import_dataset(db, given.data / dataset, dataset))
            sessions = [each for each in iter_sessions(db, dataset, split="valid") if each.bundles]
            ways = {"student": _written(sessions, given.adapter or shipped_adapter())}
            ways["shared category"] = _by(sessions, lambda bundles: [category_intent(each) for each in bundles])
            if embed is not None:
                nearest = NearestIntents(iter_sessions(db, dataset, split="train"), embed)
                ways["nearest bundle"] = _by(sessions, nearest.of)
            _compare(dataset, sessions, ways, embed)
            for session in sessions[:8]:
                for bundle, intent in zip(minimal_bundles(session.bundles), ways["student"][session.id], strict=True):
                    print(f"    {intent!r} where people wrote {bundle.intent.strip()!r}")
            if given.full is not None:
                _agreement(sessions, ways["student"], given.full)


def _remembering(path: Path) -> Callable[[Sequence[str]], Vectors]:
    """Return an encoder that computes the vector of each text once."""
    known: dict[str, npt.NDArray[np.float32]] = {}
    embedder = LocalEmbedder(path)

    def embed(texts: Sequence[str]) -> Vectors:
        new = [text for text in dict.fromkeys(texts) if text not in known]
        for first in range(0, len(new), _BATCH):
            part = new[first : first + _BATCH]
            known.update(zip(part, embedder.embed([text or " " for text in part]), strict=True))
        return np.stack([known[text] for text in texts])

    return embed


def _by(sessions: Sequence[Session], name: Callable[[Sequence[Sequence[Item]]], list[str]]) -> Intents:
    return {session.id: name(_bundles(session)) for session in sessions}


def _bundles(session: Session) -> list[list[Item]]:
    return [
        [session.items[position - 1] for position in bundle.positions] for bundle in minimal_bundles(session.bundles)
    ]


def _question(session: Session) -> Callable[[Sequence[int]], str]:
    return lambda positions: intent_question([session.items[position - 1] for position in positions])


def _written(sessions: Sequence[Session], adapter: Path) -> Intents:
    """Return the intents of the student, quantized as in use; print the time that it takes."""
    with open_embedded_student(context=4096, cache=user_cache_path("kdtui")) as student:
        tasks = [
            SessionTask(
                session,
                len(session.items),
                lambda *_: [],
                (Adapter(adapter),),
                intents=IntentPrompt(INTENT_MESSAGES, _question(session)),
            )
            for session in sessions
        ]
        # The first session includes loading the adapter and reading the instructions.
        list(student.answer(tasks[:1], _TrueBundles()))
        began, began_computing = perf_counter(), process_time()
        found = {
            cast("Session", event.key).id: [bundle.intent for bundle in event.bundles]
            for event in student.answer(tasks, _TrueBundles())
            if isinstance(event, Answered)
        }
        seconds, computing = perf_counter() - began, process_time() - began_computing
    print(
        f"{len(sessions)} sessions, {sum(map(len, found.values()))} bundles: {seconds / len(sessions):.3f} s and "
        f"{computing / len(sessions):.3f} s of processor time a session"
    )
    return found


def _compare(
    dataset: str,
    sessions: Sequence[Session],
    ways: dict[str, Intents],
    embed: Callable[[Sequence[str]], Vectors] | None,
) -> None:
    measures: dict[str, Callable[[str, str], float]] = {"token F1": token_f1, "ROUGE-L": rouge_l}
    if embed is not None:

        def cosine(one: str, other: str) -> float:
            left, right = embed([one.strip(), other.strip()])
            return float(left @ right / max(float(np.linalg.norm(left) * np.linalg.norm(right)), 1e-9))

        measures["cosine"] = cosine
    random = np.random.default_rng(0)
    draws = random.integers(0, len(sessions), (_RESAMPLES, len(sessions)))
    for measure, compute in measures.items():
        sums: dict[str, npt.NDArray[np.float64]] = {}
        counts = np.zeros(len(sessions))
        for way, intents in ways.items():
            pairs = [_pairs(number, session, intents[session.id]) for number, session in enumerate(sessions)]
            counts = np.array([len(each) for each in pairs], np.float64)
            sums[way] = np.array([sum(closest_score(compute, pair) for pair in each) for each in pairs], np.float64)
        for way in ways:
            print(f"{dataset}, {measure}, {way:<16} {_interval(sums[way], counts, draws)}")
        for way in list(ways)[1:]:
            difference = sums["student"] - sums[way]
            print(f"{dataset}, {measure}, student less {way:<16} {_interval(difference, counts, draws)}", flush=True)


def _pairs(number: int, session: Session, intents: Sequence[str]) -> list[MatchedIntent]:
    found = minimal_bundles(session.bundles)
    predicted = [(frozenset(each.positions), intent) for each, intent in zip(found, intents, strict=True)]
    return match_intents(number, session.bundles, predicted)


def _interval(sums: npt.NDArray[np.float64], counts: npt.NDArray[np.float64], draws: npt.NDArray[np.int64]) -> str:
    means = sums[draws].sum(axis=1) / counts[draws].sum(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return f"{sums.sum() / counts.sum():.3f} [{low:.3f}, {high:.3f}]"


def _agreement(sessions: Sequence[Session], quantized: Intents, adapter: Path) -> None:
    """Count how often the student writes the same in full precision with unconstrained greedy decoding."""
    import torch
    from peft import PeftModel

    from models.llama.answer_tokens import INTENT_TOKENS, INTENT_WORDS
    from models.sft.base import load_base

    base = load_base(str(embedded_student()))
    model = PeftModel.from_pretrained(base.model, adapter).float().eval()
    chat = ChatTokenizer(base.vocabulary)
    prompt = chat.prompt(INTENT_MESSAGES)
    same = total = 0
    for session in sessions:
        for bundle, intent in zip(minimal_bundles(session.bundles), quantized[session.id], strict=True):
            asked = base.vocabulary.tokenize(_question(session)(bundle.positions))
            tokens = torch.tensor([[*prompt.shared, *prompt.own, *asked]])
            with torch.no_grad():
                written = model.generate(
                    input_ids=tokens,
                    attention_mask=torch.ones_like(tokens),
                    do_sample=False,
                    max_new_tokens=INTENT_TOKENS,
                    eos_token_id=chat.end,
                    pad_token_id=chat.end,
                )[0, tokens.shape[1] :].tolist()
            text = base.vocabulary.text([token for token in written if token != chat.end])
            same += " ".join(text.split()[:INTENT_WORDS]) == intent
            total += 1
    print(f"the same intent in full precision for {same} of {total} bundles ({same / total:.1%})", flush=True)


if __name__ == "__main__":
    main()
