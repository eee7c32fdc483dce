"""Model files: their metadata, and quantization to fewer bits."""

from collections.abc import Generator, Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from models.errors import ModelError
from models.files.whole_files import replacing_path
from models.llama.bindings import llama_cpp
from models.llama.model import last_error, prepare_backend
from models.llama.model_header import meta_value, vocabulary_only
from models.subprocess_call import steps_in_process

QUANTIZATIONS: dict[str, int] = {
    "Q4_0": llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_0,
    "Q4_K_M": llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_K_M,
    "Q5_K_M": llama_cpp.LLAMA_FTYPE_MOSTLY_Q5_K_M,
    "Q6_K": llama_cpp.LLAMA_FTYPE_MOSTLY_Q6_K,
    "Q8_0": llama_cpp.LLAMA_FTYPE_MOSTLY_Q8_0,
    "BF16": llama_cpp.LLAMA_FTYPE_MOSTLY_BF16,
    "F16": llama_cpp.LLAMA_FTYPE_MOSTLY_F16,
    "F32": llama_cpp.LLAMA_FTYPE_ALL_F32,
}
"""The quantizations that `quantize_file` makes, from the fewest bits to the most."""

_LOOK = 0.2
"""Seconds between two checks of the number of bytes written."""

_NAMES = {
    value: name.removeprefix("LLAMA_FTYPE_").removeprefix("MOSTLY_").removeprefix("ALL_")
    for name, value in vars(llama_cpp).items()
    if name.startswith("LLAMA_FTYPE_") and isinstance(value, int)
}


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """The metadata of a GGUF file.

    Attributes:
        context: length that the model was trained for, in tokens.
        width: of the vector that passes from layer to layer.
    """

    architecture: str
    parameters: int
    quantization: str
    bytes: int
    context: int
    layers: int
    width: int


def model_info(path: Path, *, trusted: bool = False) -> ModelInfo:
    """Read the header and the vocabulary of a model, not its weights.

    Args:
        trusted: as for `LlamaModel`.

    Raises:
        ModelError: the file is missing, or is no model.
    """
    with vocabulary_only(path, trusted=trusted) as model:
        architecture = meta_value(model, "general.architecture")
        kind = meta_value(model, "general.file_type")
        context, layers, width = (
            int(value) if (value := meta_value(model, f"{architecture}.{key}")).isdigit() else 0
            for key in ("context_length", "block_count", "embedding_length")
        )
        return ModelInfo(
            architecture,
            int(llama_cpp.llama_model_n_params(model)),
            _NAMES.get(int(kind), "unknown") if kind.isdigit() else "unknown",
            path.stat().st_size,
            context,
            layers,
            width,
        )


def quantize_file(source: Path, target: Path, quantization: str, threads: int) -> None:
    """Quantize the weights of a model, completely or not at all.

    A model that is quantized already loses a little more than one that is not.

    Raises:
        ModelError: the source is not a model or is damaged, the target exists already, or it cannot be written.
    """
    for _ in quantizing(source, target, quantization, threads):
        pass


def quantizing(source: Path, target: Path, quantization: str, threads: int) -> Generator[int, None, None]:
    """Do the same as `quantize_file`, with progress. Closing the generator stops it and leaves nothing behind.

    Yields:
        the number of bytes written so far, every now and then.

    Raises:
        ModelError: as `quantize_file`.
    """
    model_info(source)
    if target.exists():
        # It can be the source, or another database's model.
        raise ModelError(f"{target}: there is a file of this name already; choose another name, or delete it")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing_path(target) as part:
            # A large model takes minutes, in which llama.cpp would swallow an interrupt. A damaged model can crash it.
            try:
                with closing(steps_in_process(_write, source, part, quantization, threads, every=_LOOK)) as steps:
                    for _ in steps:
                        yield part.stat().st_size if part.exists() else 0
            except ModelError as error:
                if "iostream" in str(error):
                    # C++ does not say why it cannot write.
                    raise ModelError(f"{target}: cannot be written whole; the disk may be full") from error
                raise ModelError(f"{source}: llama.cpp cannot quantize this model ({error})") from error
            # A full disk shows only in the written file. Its header and vocabulary are those of the source.
            model_info(part, trusted=True)
    except OSError as error:
        raise ModelError(f"{target}: {error.strerror}") from error


def _write(source: Path, target: Path, quantization: str, threads: int) -> None:
    prepare_backend()
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = QUANTIZATIONS[quantization]
    params.allow_requantize = True
    params.nthread = threads
    if llama_cpp.llama_model_quantize(str(source).encode(), str(target).encode(), params):
        raise ModelError(last_error())


def suitable_quantization(features: Iterable[str], *, gpu: bool) -> tuple[str, str]:
    """Return the quantization that llama.cpp computes fastest on this machine, and why."""
    if gpu:
        return "Q4_K_M", "GPUs have a kernel for every kind, and it keeps most of few bits"
    if "REPACK" in features and {"AVX2", "AVX512", "NEON", "DOTPROD", "MATMUL_INT8"} & set(features):
        return "Q4_0", "it is repacked for the vector units of this processor; Q8_0 is too, and loses next to nothing"
    return "Q4_0", "there is least to read from memory"
