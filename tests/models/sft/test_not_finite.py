"""Damaged weights and too large scales give NaN, which is reported and never used."""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter

import numpy as np
import pytest

from models.endpoint.chat_server import Endpoint
from models.endpoint.embedding import RemoteEmbedder
from models.errors import ModelError
from models.llama.context import are_comparable
from models.llama.embedding import LocalEmbedder
from models.llama.strategies import make_strategy
from models.llama.student import Student
from models.messages import Message
from models.pairs.calibration import BundleCalibration, Calibration, PairCalibration
from models.student_protocol import Adapter, SessionTask
from tests.support.fake_chat_server import Fake, Serve
from tests.support.tiny import make_adapter, make_model


def ask(_: str, order: Sequence[int]) -> list[Message]:
    return [Message("user", "\n".join(f"{place}. thing {place}" for place in order))]


PAIRS = Calibration(BundleCalibration(0, 1, 0, 0), PairCalibration(0, 1, 0, 0, 0.5))


@pytest.mark.parametrize("strategy", ["list", "drafts", "pairs"])
@pytest.mark.parametrize("norm", [math.nan, math.inf])
def test_a_model_with_damaged_weights_is_named(tmp_path: Path, strategy: str, norm: float) -> None:
    path = make_model(tmp_path / "damaged.gguf", norm=norm)
    with (
        Student(path) as student,
        pytest.raises(
            ModelError, match=r"damaged\.gguf: the model computes values that are not finite; its weights are damaged"
        ),
    ):
        list(student.answer([SessionTask("s", 4, ask)], make_strategy(strategy, PAIRS)))  # type: ignore[arg-type]


def test_an_adapter_with_too_large_a_scale_is_named_and_the_student_works_without_it(tmp_path: Path) -> None:
    path = make_model(tmp_path / "sound.gguf")
    adapter = make_adapter(tmp_path / "strong.gguf")
    with Student(path) as student:
        with pytest.raises(
            ModelError, match=r"with the adapter .*strong\.gguf x 1e\+38 the model computes values that are not finite"
        ):
            list(student.answer([SessionTask("s", 4, ask, (Adapter(adapter, 1e38),))]))
        assert list(student.answer([SessionTask("s", 4, ask)]))


def test_a_model_with_damaged_weights_makes_no_vectors(tmp_path: Path) -> None:
    path = make_model(tmp_path / "damaged.gguf", norm=math.nan)
    with (
        LocalEmbedder(path) as embedder,
        pytest.raises(ModelError, match="the model computes values that are not finite"),
    ):
        embedder.embed(["a tent"])


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1e39", "-1e400"])
def test_an_endpoint_with_vectors_that_are_not_numbers_is_named(serve: Serve, value: str) -> None:
    def reply(fake: Fake, _: int) -> None:
        vector = {"object": "embedding", "index": 0, "embedding": [0.5, "VALUE"]}
        content = json.dumps({"object": "list", "model": "m", "data": [vector]}).replace('"VALUE"', value)
        fake.send(content.encode())

    url, _ = serve(reply)
    with (
        RemoteEmbedder(Endpoint(url, "m")) as embedder,
        pytest.raises(ModelError, match=r"makes vectors whose values are not numbers|usable answer"),
    ):
        embedder.embed(["a tent"])


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda rows: rows, True),
        (lambda rows: np.where(rows == rows[1, 7], np.nan, rows), False),
        (lambda rows: np.where(rows == rows[1, 7], np.inf, rows), False),
        # A forbidden token, and numbers whose sum overflows 32 bits.
        (lambda rows: np.where(rows == rows[1, 7], -np.inf, rows), True),
        (lambda rows: np.full_like(rows, 1e35), True),
    ],
    ids=["numbers", "one is NaN", "one is infinite", "one is impossible", "large"],
)
def test_one_logit_that_is_not_a_number_is_found(
    change: Callable[[np.ndarray], np.ndarray],
    expected: bool,
) -> None:
    rows = np.random.default_rng(0).normal(size=(2, 50_000)).astype(np.float32)
    assert are_comparable(change(rows).astype(np.float32)) == expected


def test_the_check_of_logits_is_almost_free() -> None:
    """Measure a vocabulary of fifty thousand tokens, for which computing the logits takes at least ten milliseconds."""
    rows = np.zeros((1, 50_000), np.float32)
    times = []
    for _ in range(50):
        started = perf_counter()
        are_comparable(rows)
        times.append(perf_counter() - started)
    # The fastest try, because other programs can run at the same time.
    assert min(times) < 0.0005
