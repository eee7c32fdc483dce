"""Copies the files of an untrusted adapter, and checks them before anything reads them.

Only necessary files are copied, each up to a maximum size. The checks read the copy, because the folder can change.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from stat import S_ISLNK, S_ISREG
from typing import Any, BinaryIO

from models.adapters.folder import SUMS
from models.adapters.peft_settings import BASE_CONFIG, CONFIG, MANIFEST, WEIGHTS, check_fits_gguf
from models.errors import ModelError
from models.files.json_files import is_deep, read_object

_SMALL = (CONFIG, MANIFEST, BASE_CONFIG, SUMS)

_LARGEST_SMALL = 2**20
"""Bytes of a file that describes the weights."""

_LARGEST = 2**32
"""Bytes of the weights of an adapter, whatever its base."""

_LONGEST_HEADER = 2**24
"""Bytes of the list of tensors in a safetensors file."""

_MAX_FILES = 10_000

_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")

_SUM = re.compile(r"([0-9A-Fa-f]{64}) [ *](.+)")

_MAX_PATTERNS, _MAX_PATTERN_LENGTH = 4096, 200

_REPETITION, _MAX_REPETITIONS = re.compile(r"[*+?{]"), 2
"""The signs of a repetition in a pattern, and how many it can have: each makes matching slower."""

_KINDS: dict[str, Any] = {
    "peft_type": str,
    "r": int,
    "lora_alpha": (int, float),
    "lora_dropout": (int, float),
    "use_rslora": bool,
    "target_modules": (str, list),
    "exclude_modules": (str, list),
    "alpha_pattern": dict,
    "rank_pattern": dict,
    "layers_to_transform": (int, list),
    "layers_pattern": (str, list),
    "base_model_name_or_path": str,
}
"""The types of the settings that something reads."""


def copy_files(folder: Path, into: Path, gguf: str | None = None) -> str | None:
    """Copy what is needed of an adapter: its files for PEFT, or else its GGUF file.

    Args:
        gguf: the name of the GGUF file; None for the only one.

    Returns:
        The name of the GGUF file; None for an adapter in PEFT's format.

    Raises:
        ModelError: it holds no adapter, a pickle, or a link; or a file is too large, or differs from `SHA256SUMS`.
    """
    names = _names(folder)
    chosen = None
    if gguf is not None or WEIGHTS not in names:
        chosen = _gguf_file(folder, names, gguf)
        wanted = [name for name in (chosen, SUMS) if name in names]
    else:
        if CONFIG not in names:
            raise ModelError(f"{folder / CONFIG}: this file is missing, and the weights are useless without it")
        wanted = [name for name in (WEIGHTS, *_SMALL) if name in names]
    if chosen is None:
        # Before the large files are copied.
        _check_header(folder / WEIGHTS)
    sums = {name: _copy(folder / name, into / name, _LARGEST_SMALL if name in _SMALL else _LARGEST) for name in wanted}
    if SUMS in sums:
        _check_sums(folder, into / SUMS, sums)
        (into / SUMS).unlink()
    return chosen


def check_folder(folder: Path) -> None:
    """Check a folder with an adapter for PEFT that can come from a host, where it is.

    Raises:
        ModelError: a file is missing, a link, too large, or does not describe a plain LoRA adapter.
    """
    for name in (WEIGHTS, CONFIG, MANIFEST, BASE_CONFIG):
        if name in (MANIFEST, BASE_CONFIG) and not os.path.lexists(folder / name):
            continue
        most = _LARGEST if name == WEIGHTS else _LARGEST_SMALL
        with _opened(folder / name) as file:
            if os.fstat(file.fileno()).st_size > most:
                raise ModelError(f"{folder / name}: it has more than {most:,} bytes, which is the maximum")
    _check_header(folder / WEIGHTS)
    check_config(read_described(folder / CONFIG))


def read_described(path: Path) -> dict[str, Any]:
    """Read the object in a file that describes an adapter; return an empty one if there is no such file.

    Raises:
        ModelError: the file holds something else, or is nested too deeply.
    """
    if not path.exists():
        return {}
    content = read_object(path)
    if is_deep(content):
        raise ModelError(f"{path.name}: it is nested too deeply")
    return content


def check_config(config: Mapping[str, Any]) -> None:
    """Refuse a PEFT configuration with wrong types, more than a plain LoRA, or slow regular expressions.

    Raises:
        ModelError: a setting is refused; the message names it.
    """
    for setting, kinds in _KINDS.items():
        value = config.get(setting)
        if value is not None and (not isinstance(value, kinds) or (isinstance(value, bool) and kinds is not bool)):
            raise ModelError(f"{CONFIG}: {setting} cannot be {str(value)[:60]!r}")
    for setting in ("target_modules", "exclude_modules"):
        named = config.get(setting) or ()
        if not isinstance(named, str) and not all(isinstance(each, str) for each in named):
            raise ModelError(f"{CONFIG}: {setting} has to be a list of names")
    check_fits_gguf(config)
    for setting in ("alpha_pattern", "rank_pattern"):
        patterns = config.get(setting) or {}
        if len(patterns) > _MAX_PATTERNS:
            raise ModelError(f"{CONFIG}: {setting} has {len(patterns):,} patterns; no adapter has that many")
        for key, value in patterns.items():
            if len(key) > _MAX_PATTERN_LENGTH or "(" in key or len(_REPETITION.findall(key)) > _MAX_REPETITIONS:
                raise ModelError(f"{CONFIG}: {setting} has the pattern {key[:60]!r}, which could take forever to match")
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ModelError(f"{CONFIG}: {setting} has {str(value)[:60]!r} for {key[:60]!r}, which is not a number")


def _names(folder: Path) -> set[str]:
    """Return the names of the files in a folder.

    Raises:
        ModelError: it cannot be read, or holds files that no adapter has.
    """
    try:
        with os.scandir(folder) as entries:
            entries_by_name = {}
            for entry in entries:
                entries_by_name[entry.name] = entry
                if len(entries_by_name) > _MAX_FILES:
                    raise ModelError(f"{folder}: it holds more than {_MAX_FILES:,} files, and no adapter has that many")
    except OSError as error:
        raise ModelError(f"{folder}: {error.strerror}") from error
    names = {name for name, entry in entries_by_name.items() if not entry.is_dir(follow_symlinks=False)}
    pickles = sorted(name for name in names if Path(name).suffix in _PICKLES)
    # Other files of a trainer, such as the state of its optimizer, are neither read nor copied.
    if wrong := [
        name for name in pickles if name.startswith(("adapter", "pytorch_model", "model")) or WEIGHTS not in names
    ]:
        raise ModelError(
            f"{folder / wrong[0]}: this is a pickle, which can run any code when it is read; save the adapter as "
            f"{WEIGHTS} instead"
        )
    return names


def _gguf_file(folder: Path, names: set[str], wanted: str | None) -> str:
    files = sorted(name for name in names if name.endswith(".gguf"))
    if wanted is not None:
        if wanted not in files:
            raise ModelError(f"{folder}: it has no GGUF file {wanted!r}; it has: {', '.join(files[:12]) or 'none'}")
        return wanted
    if not files:
        raise ModelError(f"{folder}: there is no adapter in this folder: neither {WEIGHTS} nor a GGUF file")
    if len(files) > 1:
        raise ModelError(f"{folder}: it has several GGUF files; choose one with --file: {', '.join(files[:12])}")
    return files[0]


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file for reading if it is a regular file: no link, and nothing that could block the reader.

    Raises:
        ModelError: it is something else, or cannot be read.
    """
    try:
        mode = path.lstat().st_mode
        if S_ISLNK(mode):
            raise ModelError(f"{path}: this is a link; copy the file itself into the folder")
        if not S_ISREG(mode):
            raise ModelError(f"{path}: this is not a regular file")
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror}") from error
    with os.fdopen(descriptor, "rb") as file:
        yield file


def _copy(source: Path, target: Path, most: int) -> str:
    """Copy a file, and return its SHA-256.

    Raises:
        ModelError: it is not a regular file, or too large.
    """
    digest, size = sha256(), 0
    with _opened(source) as file, target.open("xb") as copy:
        while chunk := file.read(1 << 20):
            size += len(chunk)
            if size > most:
                raise ModelError(f"{source}: it has more than {most:,} bytes, which is the maximum")
            digest.update(chunk)
            copy.write(chunk)
    return digest.hexdigest()


def _check_sums(folder: Path, listed: Path, copied_sums: Mapping[str, str]) -> None:
    """Compare the hashes of the copied files with a list."""
    listed_sums = {}
    text = listed.read_bytes().decode("utf-8", "replace")
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        match = _SUM.fullmatch(line)
        if match is None:
            raise ModelError(f"{folder / SUMS}, line {number:,}: this is not a SHA-256 with the name of a file")
        name = match[2]
        if name in ("", ".", "..") or "/" in name or "\\" in name or "\0" in name:
            raise ModelError(f"{folder / SUMS}, line {number:,}: {name!r} is not a file of this folder")
        listed_sums[name] = match[1].lower()
    for name, hash_ in copied_sums.items():
        if name == SUMS:
            continue
        if name not in listed_sums:
            raise ModelError(
                f"{folder / name}: {SUMS} does not list it, so it cannot be checked; fetch the folder again"
            )
        if listed_sums[name] != hash_:
            raise ModelError(f"{folder / name}: its SHA-256 differs from {SUMS}; fetch the folder again")


def _check_header(weights: Path) -> None:
    """Refuse a safetensors file whose list of tensors is damaged, or claims more than the file holds."""
    with _opened(weights) as file:
        size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > size - 8:
            raise ModelError(f"{weights}: this safetensors file is incomplete or damaged")
        if length > _LONGEST_HEADER:
            raise ModelError(f"{weights}: its list of tensors has {length:,} bytes; no adapter has that many")
        try:
            header = json.loads(file.read(length))
        except (ValueError, RecursionError) as error:
            raise ModelError(f"{weights}: this safetensors file is incomplete or damaged") from error
    if not isinstance(header, dict) or is_deep(header):
        raise ModelError(f"{weights}: this safetensors file is incomplete or damaged")
