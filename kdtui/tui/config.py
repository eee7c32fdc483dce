"""The user's configuration of the app: a theme, colours and keys of their own, in TOML."""

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from textual.color import Color, ColorParseError
from textual.keys import Keys
from textual.theme import Theme

from kdtui.errors import BadFile
from kdtui.tui.actions import ACTIONS, keys_of

CONFIG = "KDTUI_CONFIG"
"""The environment variable that names another file."""

THEMES = ("textual-dark", "textual-light", "high-contrast", "ansi-dark", "ansi-light", "nord", "gruvbox")
"""Those that the key for themes goes through; all of Textual's can be configured."""

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
"""Of a theme; all but the first follow from the others where they are not said."""

_MODIFIERS = {"ctrl", "shift", "alt", "super", "meta"}
_NAMED = {key.value for key in Keys}


@dataclass(frozen=True, slots=True)
class Config:
    """What the user wants otherwise; `theme` is None where they do not care, `themes` are their own."""

    theme: str | None = None
    keymap: Mapping[str, str] = field(default_factory=dict)
    themes: tuple[Theme, ...] = ()


def config_path() -> Path:
    """Where the configuration is, whether or not it is there."""
    if named := os.environ.get(CONFIG):
        return Path(named)
    # Imported here: the first paint needs no more than a path, and mostly there is one in the environment of tests.
    from platformdirs import user_config_path

    return user_config_path("kdtui") / "config.toml"


def read_config(path: Path, themes: frozenset[str]) -> Config:
    """The configuration in a file; the usual one where there is no such file.

    Args:
        themes: names of those that there are.

    Raises:
        BadFile: it says something that cannot be.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Config()
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise BadFile(path, f"{reason}; see the section on configuration in the README") from error
    unknown = sorted(set(content) - {"theme", "keys", "themes"})
    if unknown:
        raise BadFile(path, f"there is no setting {unknown[0]!r}; there are: theme, and the tables keys and themes")
    own = _own_themes(path, content.get("themes", {}), themes)
    themes |= {each.name for each in own}
    theme, keys = content.get("theme"), content.get("keys", {})
    if theme is not None and theme not in themes:
        raise BadFile(path, f"there is no theme {theme!r}; there are: {', '.join(sorted(themes))}")
    if not isinstance(keys, dict) or not all(isinstance(value, str) for value in keys.values()):
        raise BadFile(path, 'keys is a table of actions and keys, such as: "app.quit" = "ctrl+q"')
    _check_keymap(path, keys)
    return Config(theme, keys, own)


def _own_themes(path: Path, tables: object, taken: frozenset[str]) -> tuple[Theme, ...]:
    if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
        raise BadFile(path, 'themes has a table for each theme, such as: [themes.mine] with primary = "#ff8800"')
    found = []
    for name, table in tables.items():
        if name in taken or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", name):
            reason = "there is one of that name already" if name in taken else "it has letters, digits, - and _"
            raise BadFile(path, f"a theme cannot be called {name!r}; {reason}")
        for setting, value in table.items():
            _check_setting(path, f"theme {name}", setting, value)
        if "primary" not in table:
            raise BadFile(path, f"theme {name} needs a colour primary")
        found.append(Theme(name=name, **table))
    return tuple(found)


def _check_setting(path: Path, theme: str, setting: str, value: object) -> None:
    if setting == "dark" and isinstance(value, bool):
        return
    if setting not in _COLOURS:
        known = ", ".join(_COLOURS)
        raise BadFile(path, f"{theme} has no {setting!r} like this; there are: dark (true or false), and {known}")
    try:
        Color.parse(value if isinstance(value, str) else "")
    except ColorParseError as error:
        raise BadFile(
            path, f"{theme}: {setting} is no colour ({value!r}); colours are such as: #ff8800, teal"
        ) from error


def _check_keymap(path: Path, keymap: Mapping[str, str]) -> None:
    known = {action.id for action in ACTIONS}
    for name, keys in keymap.items():
        if name not in known:
            raise BadFile(path, f"there is no action {name!r}; docs/keys.md lists those that there are")
        for key in keys.split(","):
            if not _is_key(key.strip()):
                raise BadFile(path, f"there is no key {key.strip()!r} (for {name}); keys are such as: x, F5, ctrl+d")
    usual, wanted = keys_of({}), keys_of(keymap)
    for name in keymap:
        place = name.partition(".")[0]
        for other, keys_of_other in wanted.items():
            shared = set(wanted[name]) & set(keys_of_other)
            reach = {place, "app", "screen", "table"} if place not in ("app", "screen", "table") else None
            near = reach is None or other.partition(".")[0] in reach
            # Some share a key as they come, since only one of them can be done at a time.
            if other != name and near and shared - (set(usual[name]) & set(usual[other])):
                raise BadFile(path, f"the key {min(shared)!r} is given to {name} and to {other}")


def _is_key(key: str) -> bool:
    *modifiers, name = key.split("+") if len(key) > 1 else [key]
    if not set(modifiers) <= _MODIFIERS:
        return False
    return len(name) == 1 or name.lower() in _NAMED or (name.isidentifier() and _is_character_name(name))


def _is_character_name(name: str) -> bool:
    """Whether it is a character by its Unicode name, as Textual writes keys: `question_mark`."""
    import unicodedata

    try:
        unicodedata.lookup(name.replace("_", " ").upper())
    except KeyError:
        return name in ("question_mark", "slash", "space", "minus", "plus")
    return True
