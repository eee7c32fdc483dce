"""The registry of all actions of the app: bindings, help, palette, keymap and tests read it."""

from collections.abc import Collection, Mapping
from dataclasses import replace

from textual.binding import BindingType

from kdtui.tui.action import PLACES, Action, find_actions, hidden_actions, scroll_actions
from kdtui.tui.place_actions import PLACE_ACTIONS, STUDY, TRAINING

_APP = (
    *(
        Action("app", place, str(number), title, f"Go to {title}: {purpose}", f"show({place!r})", footer=False)
        for number, (place, (title, purpose)) in enumerate(PLACES.items(), start=1)
    ),
    Action("app", "help", "question_mark", "Help", "List the keys"),
    Action("app", "palette", "colon,ctrl+p", "Commands", "Find an action by its name", "command_palette", footer=False),
    *hidden_actions(
        "app",
        ("jump", "f", "Jump", "Go to a part of the screen by a letter"),
        ("next_theme", "T", "Next theme", "Use the next theme"),
        ("messages", "exclamation_mark", "Messages", "Read the past messages of the app again, in full"),
    ),
    Action(
        "app",
        "suspend",
        "ctrl+z",
        "Suspend",
        "Suspend the program and go back to the shell, where fg continues it",
        "suspend_process",
        footer=False,
    ),
    Action("app", "quit", "q", "Quit", "Quit the program"),
)

_SCREEN = (
    Action("screen", "copy_command", "c", "Copy", "Copy the command that does the same"),
    *hidden_actions(
        "screen",
        ("reload", "r", "Reload", "Reload, to see what other programs have changed"),
        ("import_dataset", "i", "Import", "Import a dataset from a directory or a file"),
        ("import_demo", "D", "Demo", "Import the demo: two small datasets of invented products, with knowledge"),
    ),
)
"""Actions of every place."""

_TABLE = tuple(
    hidden_actions(
        "table",
        ("down", "j,down", "Down", "Go down a row"),
        ("up", "k,up", "Up", "Go up a row"),
        ("page_down", "pagedown,ctrl+f", "Page down", "Go down a page"),
        ("page_up", "pageup,ctrl+b", "Page up", "Go up a page"),
        ("top", "home", "First", "Go to the first row"),
        ("bottom", "end,G", "Last", "Go to the last row"),
        ("select", "enter", "Open", "Open the row"),
    )
)

_SEARCH = (
    Action("search", "leave_search", "escape,down", "To the list", "Go from the search to the list", footer=False),
)
"""Actions of a search line while it has the focus."""

_ROWS = (Action("rows", "find_row", "slash", "Find", "Find a row by its words"),)
"""Actions of a place whose list is in memory."""

_FIND = (
    Action("find", "next", "down", "Next", "Go to the next match", footer=False),
    Action("find", "previous", "up", "Previous", "Go to the previous match", footer=False),
    Action("find", "close", "escape", "Back", "Go back to where you were", footer=False),
)

_MATRIX = (
    *hidden_actions(
        "matrix",
        ("down", "j,down", "Down", "Go down a cell"),
        ("up", "k,up", "Up", "Go up a cell"),
        ("left", "h,left", "Left", "Go to the cell on the left"),
        ("right", "l,right", "Right", "Go to the cell on the right"),
        ("page_down", "pagedown,ctrl+f", "Page down", "Go down a page"),
        ("page_up", "pageup,ctrl+b", "Page up", "Go up a page"),
        ("top", "home", "First", "Go to the first cell"),
        ("bottom", "end,G", "Last", "Go to the last cell"),
    ),
    Action("matrix", "select", "enter", "Open", "Open the run of the cell"),
)

_DIALOGS = (
    Action("text", "close", "escape,q", "Close", "Close the text"),
    Action("text", "copy", "c", "Copy", "Copy the text"),
    *find_actions("text", "Find words in the text"),
    Action("text", "help", "question_mark", "Help", "List the keys", "app.help"),
    Action(
        "text",
        "messages",
        "exclamation_mark",
        "Messages",
        "Read the past messages of the app again",
        "app.messages",
        footer=False,
    ),
    *scroll_actions("text"),
    Action("help", "close", "escape,question_mark,q,enter", "Close", "Close the help"),
    *find_actions("help", "Find a key by words of its purpose"),
    *scroll_actions("help"),
    Action("confirm", "yes", "y", "Yes", "Do it", "answer(True)"),
    Action("confirm", "no", "n,escape", "No", "Leave it as it is", "answer(False)"),
    Action("confirm", "copy", "c", "Copy", "Copy the command that does the same", "copy_command"),
    Action("form", "done", "ctrl+s", "Done", "Accept the form", priority=True),
    Action("form", "close", "escape", "Close", "Close the form without accepting it"),
    Action("form", "copy", "ctrl+o", "Copy", "Copy the command that does the same", "copy_command", priority=True),
    Action("task", "stop", "ctrl+x", "Stop", "Stop the work that the form has started", priority=True),
    Action(
        "path",
        "complete",
        "tab",
        "Complete",
        "Complete the path, or go to the next field if there is nothing to complete",
        footer=False,
    ),
    Action("jump", "close", "escape,q", "Close", "Stay where you are"),
)

ACTIONS: tuple[Action, ...] = (
    *_APP,
    *_SCREEN,
    *_TABLE,
    *_SEARCH,
    *_ROWS,
    *_FIND,
    *PLACE_ACTIONS,
    *_MATRIX,
    *scroll_actions("log"),
    *_DIALOGS,
)


PLACE_OF_SCOPE = {
    **{place: place for place in PLACES},
    "session": "workbench",
    "piece": "knowledge",
    "training": "jobs",
    "study": "studies",
}
"""The scopes whose actions the palette offers everywhere, each with its place."""

ROW_ACTIONS = frozenset(
    {
        *(f"knowledge.{name}" for name in ("mark", "sample", "delete", "export", "call")),
        *(f"samples.{name}" for name in ("pieces", "mark", "delete")),
        *(f"runs.{name}" for name in ("mark", "resume", "delete")),
        *(
            f"models.{name}"
            for name in ("use", "calibrate", "quantize", "merge", "export", "remove", "details", "copy_path")
        ),
        *(action.id for action in (*TRAINING, *STUDY)),
        "jobs.check",
    }
)
"""Actions on the row under the cursor or on marked rows: the palette offers them only where the user sees the rows."""


def bindings(*scopes: str, shown: Collection[str] = ()) -> list[BindingType]:
    """Return the bindings of scopes, in the order of the footer.

    Args:
        shown: ids of actions that the footer shows in addition.
    """
    return [
        replace(action, footer=action.footer or action.id in shown).to_binding()
        for scope in scopes
        for action in ACTIONS
        if action.scope == scope
    ]


def keys_of(keymap: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the keys of each action: those of a keymap, or else the default ones."""
    return {
        action.id: [key.strip() for key in keymap.get(action.id, action.keys).split(",") if key.strip()]
        for action in ACTIONS
    }
