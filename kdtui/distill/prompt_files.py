"""The prompts for teachers, one file per step. A user's own file with the same name takes precedence."""

from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Literal, TypeAlias, get_args

from platformdirs import user_config_path

from kdtui.errors import BadFile, KdtuiError
from models.files.text_files import NotText, decode_text

PromptStep: TypeAlias = Literal["detect", "correct", "reflect", "thought", "adjust", "rules", "judge"]
PROMPT_STEPS: tuple[PromptStep, ...] = get_args(PromptStep)


def prompt_text(step: PromptStep, **values: str) -> str:
    """Fill these values into the prompt of a step.

    Raises:
        KdtuiError: the user's own file cannot be read, or refers to an unknown value.
    """
    try:
        return Template(_source(step)).substitute(values).strip()
    except (KeyError, ValueError) as error:
        known = ", ".join(f"${name}" for name in values) or "none"
        raise KdtuiError(f"the prompt {own_prompt_file(step)} asks for {error}; there is {known}") from error


def prompts_hash() -> str:
    """Return a hash that identifies the version of the teachers' prompts: 12 hexadecimal digits."""
    teaching = [step for step in PROMPT_STEPS if step != "judge"]
    return sha256("\0".join(map(_source, teaching)).encode()).hexdigest()[:12]


def own_prompt_file(step: PromptStep) -> Path:
    """Return the path of the user's own prompt for a step."""
    return user_config_path("kdtui") / "prompts" / f"{step}.txt"


def _source(step: PromptStep) -> str:
    try:
        return decode_text(own_prompt_file(step).read_bytes())
    except FileNotFoundError:
        return (files("kdtui") / "prompts" / f"{step}.txt").read_text(encoding="utf-8")
    except OSError as error:
        raise KdtuiError(f"the prompt {own_prompt_file(step)} cannot be read ({error.strerror})") from error
    except NotText as error:
        raise BadFile(own_prompt_file(step), str(error), error.line) from error
