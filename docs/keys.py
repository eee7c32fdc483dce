"""Write the keys of the app into docs/keys.md, from the registry of actions: python -m docs.keys."""

from pathlib import Path

from textual.app import App
from textual.binding import Binding

from kdtui.tui.action import PLACES
from kdtui.tui.actions import ACTIONS

PAGE = Path(__file__).with_name("keys.md")

_HEAD = """# Keys

These are all actions of the app; `?` lists those of the current screen. To change a key, use the name in the last
column in the [configuration](app.md#configuration), `~/.config/kdtui/config.toml` (or the file that `KDTUI_CONFIG`
names):

```toml
theme = "nord"

[keys]
"app.quit" = "ctrl+q"
"table.down" = "j,down,ctrl+n"
```
"""

_TITLES = {
    "app": "Everywhere",
    "screen": "In every place",
    "table": "In a list",
    "search": "While searching",
    **{place: title for place, (title, _) in PLACES.items()},
}


def page() -> str:
    """The page as it is to be."""
    app: App[None] = App()
    lines = [_HEAD]
    for scope in dict.fromkeys(action.scope for action in ACTIONS):
        lines += [
            f"## {_TITLES.get(scope, scope.replace('_', ' ').capitalize())}",
            "",
            "| key | | name |",
            "|---|---|---|",
        ]
        for action in (each for each in ACTIONS if each.scope == scope):
            keys = " ".join(f"`{app.get_key_display(Binding(key.strip(), ''))}`" for key in action.keys.split(","))
            lines.append(f"| {keys} | {action.purpose} | `{action.id}` |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
