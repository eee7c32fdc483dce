"""The user's configuration of the app: the theme, own themes and keys, in TOML."""

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from textual.color import Color, ColorParseError
from textual.keys import Keys
from textual.theme import Theme

from kdtui.errors import EXCESSIVE_TOML, BadFile
from kdtui.tui.actions import ACTIONS, keys_of
from models.files.text_files import NotText, decode_text

CONFIG = "KDTUI_CONFIG"
"""The environment variable that names another file."""

THEMES = ("textual-dark", "textual-light", "high-contrast", "ansi-dark", "ansi-light", "nord", "gruvbox")
"""The themes that the theme key cycles through; the configuration can name any theme of Textual."""

_COLOURS = (
    "primary",
    "secondary",
    "accent",
    "warning",
    "error",
    "success",
    "foreground",
    "background",
    "surface",
    "panel",
)
"""The colours of a theme; only the first is required."""

_A_THEME = 'such as: [themes.mine] with primary = "#ff8800"'
_A_KEY = 'such as: "app.quit" = "ctrl+q"'

_MODIFIERS = {"ctrl", "shift", "alt", "super", "meta"}
_NAMED = {key.value for key in Keys}


@dataclass(frozen=True, slots=True)
class Config:
    """The configuration.

    Attributes:
        theme: the name of a theme; None for the default.
        keymap: keys by the names of actions.
        themes: the user's own themes.
    """

    theme: str | None = None
    keymap: Mapping[str, str] = field(default_factory=dict)
    themes: tuple[Theme, ...] = ()


def config_path() -> Path:
    """Return the path of the configuration, which can be missing."""
    if named := os.environ.get(CONFIG):
        return Path(named)
    # Imported here to keep the start fast.
    from platformdirs import user_config_path

    return user_config_path("kdtui") / "config.toml"


_SEE_DOCS = "docs/app.md describes the file under 'Configuration'"


def read_config(path: Path, themes: frozenset[str]) -> Config:
    """Read the configuration from a file; without a file, return the default one.

    Args:
        themes: the names of the built-in themes.

    Raises:
        BadFile: a setting is unknown or has a wrong value.
    """
    try:
        content = tomllib.loads(decode_text(path.read_bytes()))
    except FileNotFoundError:
        return Config()
    except NotText as error:
        raise BadFile(path, str(error), error.line) from error
    except (OSError, tomllib.TOMLDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise BadFile(path, f"{reason}; {_SEE_DOCS}") from error
    except (ValueError, RecursionError) as error:
        raise BadFile(path, f"{EXCESSIVE_TOML}; {_SEE_DOCS}") from error
    unknown = sorted(set(content) - {"theme", "keys", "themes"})
    if unknown:
        raise BadFile(path, f"there is no setting {unknown[0]!r}; there are: theme, and the tables keys and themes")
    own = _own_themes(path, content.get("themes", {}), themes)
    themes |= {each.name for each in own}
    theme, keys = content.get("theme"), content.get("keys", {})
    if theme is not None and not isinstance(theme, str):
        raise BadFile(
            path, f'theme is the name of a theme in quotes, such as: theme = "nord"; here it is {_kind(theme)}'
        )
    if theme is not None and theme not in themes:
        raise BadFile(path, f"there is no theme {theme!r}; there are: {', '.join(sorted(themes))}")
    if not isinstance(keys, dict):
        raise BadFile(path, f"keys is a table of actions and keys, {_A_KEY}; here it is {_kind(keys)}")
    for action, key in keys.items():
        if not isinstance(key, str):
            raise BadFile(path, f"keys: {action} is a key in quotes, {_A_KEY}; here it is {_kind(key)}")
    _check_keymap(path, keys)
    return Config(theme, keys, own)


def _own_themes(path: Path, tables: object, taken: frozenset[str]) -> tuple[Theme, ...]:
    if not isinstance(tables, dict):
        raise BadFile(path, f"themes has a table for each theme, {_A_THEME}; here it is {_kind(tables)}")
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise BadFile(path, f"theme {name} is a table of colours, {_A_THEME}; here it is {_kind(table)}")
    themes = []
    for name, table in tables.items():
        if name in taken or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", name):
            reason = "this name is taken" if name in taken else "use letters, digits, - and _"
            raise BadFile(path, f"a theme cannot be called {name!r}; {reason}")
        for setting, value in table.items():
            _check_setting(path, f"theme {name}", setting, value)
        if "primary" not in table:
            raise BadFile(path, f"theme {name} needs a colour primary")
        themes.append(Theme(name=name, **table))
    return tuple(themes)


def _kind(value: object) -> str:
    """Return the type of a TOML value in words; the last remaining types are dates and times."""
    kinds = ((bool, "true or false"), (str, "a text"), (int | float, "a number"), (list, "a list"), (dict, "a table"))
    return next((kind for type_, kind in kinds if isinstance(value, type_)), "a time")


def _check_setting(path: Path, theme: str, setting: str, value: object) -> None:
    if setting == "dark":
        if not isinstance(value, bool):
            raise BadFile(path, f"{theme}: dark is true or false, without quotes; here it is {_kind(value)}")
        return
    if setting not in _COLOURS:
        known = ", ".join(_COLOURS)
        raise BadFile(path, f"{theme} has no {setting!r}; there are: dark (true or false), and {known}")
    if not isinstance(value, str):
        raise BadFile(
            path, f"{theme}: {setting} is a colour in quotes, such as: #ff8800, teal; here it is {_kind(value)}"
        )
    try:
        Color.parse(value)
    except ColorParseError as error:
        raise BadFile(
            path, f"{theme}: {setting} is not a colour ({value!r}); colours are such as: #ff8800, teal"
        ) from error


def _check_keymap(path: Path, keymap: Mapping[str, str]) -> None:
    known = {action.id for action in ACTIONS}
    for name, keys in keymap.items():
        if name not in known:
            raise BadFile(path, f"there is no action {name!r}; docs/keys.md lists the actions")
        for key in keys.split(","):
            if not _is_key(key.strip()):
                raise BadFile(path, f"there is no key {key.strip()!r} (for {name}); keys are such as: x, F5, ctrl+d")
    defaults, configured = keys_of({}), keys_of(keymap)
    for name in keymap:
        place = name.partition(".")[0]
        for other, keys_of_other in configured.items():
            shared = set(configured[name]) & set(keys_of_other)
            reach = {place, "app", "screen", "table"} if place not in ("app", "screen", "table") else None
            near = reach is None or other.partition(".")[0] in reach
            # Some actions share a default key, because only one of them is possible at a time.
            if other != name and near and shared - (set(defaults[name]) & set(defaults[other])):
                raise BadFile(path, f"the key {min(shared)!r} is given to {name} and to {other}")


def _is_key(key: str) -> bool:
    *modifiers, name = key.split("+") if len(key) > 1 else [key]
    if not set(modifiers) <= _MODIFIERS:
        return False
    return len(name) == 1 or name.lower() in _NAMED or (name.isidentifier() and _is_character_name(name))


def _is_character_name(name: str) -> bool:
    """Return whether this is the Unicode name of a character, as in Textual's names of keys: `question_mark`."""
    import unicodedata

    try:
        unicodedata.lookup(name.replace("_", " ").upper())
    except KeyError:
        return name in ("question_mark", "slash", "space", "minus", "plus")
    return True
