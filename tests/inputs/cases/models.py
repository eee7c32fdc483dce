"""Models that compute NaN, and adapters with a scale that is too large."""

import math
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.inputs.case import DEMO, Case
from tests.support.tiny import make_adapter, make_model


def _model(norm: float = 1.0) -> bytes:
    with TemporaryDirectory() as folder:
        return make_model(Path(folder) / "model.gguf", norm=norm, remember=False).read_bytes()


def _adapter() -> bytes:
    with TemporaryDirectory() as folder:
        return make_adapter(Path(folder) / "adapter.gguf").read_bytes()


_DAMAGED = {"damaged.gguf": _model(math.nan)}
_SOUND = {"sound.gguf": _model(), "strong.gguf": _adapter()}
_IS_DAMAGED = (
    "{tmp}/damaged.gguf: the model computes values that are not finite; its weights are damaged, so fetch or "
    "quantize it again"
)

CASES = [
    *(
        Case(
            f"a model with damaged weights answers by {strategy}",
            ("generate", "o34", "--student", "{tmp}/damaged.gguf", "--strategy", strategy),
            _IS_DAMAGED,
            files=_DAMAGED,
            before=(DEMO,),
            forbidden=("nan", "NaN"),
        )
        for strategy in ("list", "drafts", "pairs")
    ),
    Case(
        "a model with damaged weights computes vectors",
        ("data", "embed", "--with", "{tmp}/damaged.gguf"),
        _IS_DAMAGED,
        files=_DAMAGED,
        before=(DEMO,),
    ),
    *(
        Case(
            f"an adapter has a scale of {scale}",
            ("generate", "o34", "--student", "{tmp}/sound.gguf", "--adapter", f"{{tmp}}/strong.gguf={scale}"),
            expected,
            files=_SOUND,
            before=(DEMO,),
        )
        for scale, expected in (
            ("1e38", "with the adapter {tmp}/strong.gguf x 1e+38 the model computes values that are not finite"),
            ("1e40", "the scale of an adapter is a number such as 0.5, not 1e+40"),
            ("-1e40", "the scale of an adapter is a number such as 0.5, not -1e+40"),
            ("inf", "the scale of an adapter is a number such as 0.5, not inf"),
            ("nan", "the scale of an adapter is a number such as 0.5, not nan"),
        )
    ),
]
