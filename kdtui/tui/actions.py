"""All that can be done in the app, in one place: bindings, help, palette, keymap and the tests read it from here."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace

from textual.binding import Binding, BindingType

PLACES = {
    "knowledge": ("Knowledge", "what teachers know, to search through"),
    "workbench": ("Workbench", "sessions, and the bundles that students find in them"),
    "distill": ("Distill", "having a teacher asked, and what it costs"),
    "samples": ("Samples", "named subsets of knowledge"),
    "jobs": ("Jobs", "trainings and the hosts that they run on"),
    "runs": ("Runs", "how well students have done"),
    "models": ("Models", "bases, quantizations and adapters"),
    "studies": ("Studies", "grids of students that are trained, evaluated and compared"),
}
"""Where one can be in the app: a title, and what is there. Their order is that of the number keys."""


@dataclass(frozen=True, slots=True)
class Action:
    """Something that can be done.

    Attributes:
        place: the kind of screen or widget that it belongs to; `app` for what works everywhere.
        name: unique within the place; both together are what a keymap calls it.
        keys: that do it, by Textual's names, with commas between.
        label: in the footer, in a word or two.
        purpose: for the help, as a sentence without a full stop.
        call: of which method of the screen (`action_…`), with arguments; the name by default.
        footer: whether it is shown there.
        priority: whether its key works before those of the widget that has the focus.
    """

    place: str
    name: str
    keys: str
    label: str
    purpose: str
    call: str = ""
    footer: bool = True
    priority: bool = False

    @property
    def id(self) -> str:
        """What a keymap calls it."""
        return f"{self.place}.{self.name}"

    def to_binding(self) -> Binding:
        """The same for Textual."""
        return Binding(
            self.keys,
            self.call or self.name,
            self.label,
            show=self.footer,
            tooltip=self.purpose,
            id=self.id,
            priority=self.priority,
        )


def _quietly(place: str, *rows: tuple[str, str, str, str]) -> Iterator[Action]:
    """Actions that the footer has no room for."""
    for name, keys, label, purpose in rows:
        yield Action(place, name, keys, label, purpose, footer=False)


_APP = (
    *(
        Action("app", place, str(number), title, f"Go to {title}: {what}", f"show({place!r})", footer=False)
        for number, (place, (title, what)) in enumerate(PLACES.items(), start=1)
    ),
    Action("app", "help", "question_mark", "Help", "List the keys"),
    Action(
        "app",
        "palette",
        "colon,ctrl+p",
        "Commands",
        "Find what can be done by its name",
        "command_palette",
        footer=False,
    ),
    *_quietly(
        "app",
        ("jump", "f", "Jump", "Go to a part of the screen by a letter"),
        ("next_theme", "T", "Next theme", "Use the next theme"),
        ("messages", "exclamation_mark", "Messages", "Read again, in full, what the app has said"),
    ),
    Action(
        "app",
        "suspend",
        "ctrl+z",
        "Suspend",
        "Stop the program and go back to the shell, where fg continues it",
        "suspend_process",
        footer=False,
    ),
    Action("app", "quit", "q", "Quit", "Leave the program"),
)

_SCREEN = (
    Action("screen", "copy_command", "c", "Copy", "Copy the command that does the same"),
    *_quietly(
        "screen",
        ("reload", "r", "Reload", "Look again, for what other programs have changed"),
        ("import_dataset", "i", "Import", "Import a dataset from a directory or a file"),
        ("import_demo", "D", "Demo", "Import the demo: two small datasets of invented products, with knowledge"),
    ),
)
"""What every place offers."""

_TABLE = tuple(
    _quietly(
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
"""What a line for a search offers, while it has the focus."""

_ROWS = (Action("rows", "find_row", "slash", "Find", "Find a row by words that are in it"),)
"""What a place offers whose list is in memory."""


def _finding(place: str, purpose: str) -> Iterator[Action]:
    """Where there is something to read."""
    yield Action(place, "find", "slash", "Find", purpose)
    yield Action(place, "find_next", "n", "Next", "Go to the next place that has what was looked for last")
    yield Action(
        place,
        "find_previous",
        "N",
        "Previous",
        "Go to the previous place that has what was looked for last",
        footer=False,
    )


_FIND = (
    Action("find", "next", "down", "Next", "Go to the next place that has the words", footer=False),
    Action("find", "previous", "up", "Previous", "Go to the previous place that has the words", footer=False),
    Action("find", "close", "escape", "Back", "Go back to where you were", footer=False),
)

_KNOWLEDGE = (
    Action("knowledge", "search", "slash", "Search", "Find knowledge by words and filters, such as format:rule"),
    Action("knowledge", "mark", "space", "Mark", "Mark the piece, to do something with all that are marked"),
    Action("knowledge", "sample", "m", "Sample", "Make a sample of the marked pieces, or of this one"),
    Action("knowledge", "delete", "d", "Delete", "Delete the marked pieces, or this one"),
    Action("knowledge", "sort", "s", "Sort", "Sort by the next measure"),
    Action("knowledge", "facets", "F", "Facets", "Narrow the list down by format, dataset, status, teacher or sample"),
    *_quietly(
        "knowledge",
        ("mark_all", "a", "Mark all", "Mark all that was found, or nothing"),
        ("export", "e", "Export", "Export the marked pieces, or this one, to a folder"),
        ("undo", "u", "Undo", "Put back what was deleted last"),
        ("reverse", "S", "Reverse", "Sort in the other direction"),
        ("call", "p", "Prompt", "Show what the teacher was asked for this piece, and what it answered"),
        ("clear_search", "escape", "Everything", "Show all knowledge again"),
    ),
)

_FACETS = tuple(
    _quietly(
        "facets",
        ("down", "j", "Down", "Go to the next value"),
        ("up", "k", "Up", "Go to the previous value"),
        ("leave", "escape", "Back", "Go from the facets to the list"),
    )
)

_PIECE = (
    Action("piece", "try_it", "t", "Try it", "Have a student answer a session without this piece, and with it alone"),
    Action("piece", "open_session", "o", "Session", "Open a session that it comes from, in the workbench"),
)

_WORKBENCH = (
    Action("workbench", "search", "slash", "Search", "Find sessions by id, or by words of titles and categories"),
    Action("workbench", "choose_dataset", "d", "Dataset", "Choose another dataset"),
    Action("workbench", "type_session", "n", "New", "Type or paste the products of a session, and open it"),
    Action("workbench", "clear_search", "escape", "Everything", "Show all sessions again", footer=False),
)

_SESSION = (
    Action("session", "generate", "g", "Generate", "Have the student write bundles"),
    Action("session", "next_student", "a", "Student", "Ask the next student or adapter"),
    Action("session", "toggle_patterns", "p", "Patterns", "Show the student the mined patterns, or not"),
    Action("session", "settings", "s", "Settings", "Choose the student, its knowledge, and how it is asked"),
    Action(
        "session",
        "calibrate",
        "C",
        "Calibrate",
        "Find out on the dataset which strategy suits this student",
        footer=False,
    ),
    Action("session", "compare", "v", "Compare", "Put the bundles of other settings beside these"),
    Action("session", "other_side", "o", "Other", "Have the keys be about the other settings"),
    Action("session", "why", "w", "Why", "Show what the student is asked, word for word, and the knowledge in it"),
    Action("session", "cancel", "escape", "Stop", "Stop the student"),
    Action("session", "single", "escape", "One", "Take away what was compared with"),
    Action("session", "back", "escape", "Back", "Go back to the list"),
    Action("session", "next", "right_square_bracket", "Next", "Open the next session"),
    Action("session", "previous", "left_square_bracket", "Previous", "Open the previous session", footer=False),
)

_SAMPLES = (
    Action("samples", "create", "n", "New", "Draw a sample of the knowledge"),
    Action("samples", "pieces", "p", "Pieces", "Show the pieces of the sample in the place Knowledge"),
    Action("samples", "mark", "space", "Mark", "Mark the sample, to compare two"),
    Action("samples", "overlap", "o", "Overlap", "Show which pieces the two marked samples share"),
    Action("samples", "delete", "d", "Delete", "Delete the sample; its knowledge stays"),
)

_RUNS = (
    Action("runs", "new", "n", "New", "Evaluate a student on a split"),
    Action("runs", "plot", "p", "Plot", "Plot quality against time, then against tokens, then not at all"),
    Action("runs", "mark", "space", "Mark", "Mark the run, to compare two"),
    Action("runs", "compare", "v", "Compare", "Compare the two marked runs, or the marked one and this, by session"),
    Action("runs", "sort", "s", "Sort", "Sort by the next column"),
    Action("runs", "search", "slash", "Search", "Find runs by words of names, datasets, splits, tags and notes"),
    Action("runs", "resume", "R", "Go on", "Go on with the run, where sessions have no answer yet"),
    Action("runs", "cancel", "x", "Stop", "Stop the evaluation; what was answered is kept"),
    Action("runs", "note", "t", "Note", "Put the run under tags, and note something of it"),
    Action("runs", "delete", "d", "Delete", "Delete the run with its answers"),
    *_quietly(
        "runs",
        ("reverse", "S", "Reverse", "Sort in the other direction"),
        ("floors", "F", "Floors", "Show the floors among the runs, or not"),
        ("clear_search", "escape", "Everything", "Show all runs again"),
    ),
)

_JOBS = (
    Action("jobs", "new", "n", "New", "Start a training, here or on a host"),
    Action("jobs", "check", "h", "Check", "See what the host has for trainings, what it lacks, and what to do"),
)

_TRAININGS = (
    Action("trainings", "open", "enter", "Log and loss", "Open the training: its log, and how its loss goes", "select"),
)
"""What the list of trainings does otherwise than other lists."""

_TRAINING = (
    Action("training", "cancel", "x", "Stop", "Stop the training, which writes a checkpoint first; once more kills it"),
    Action("training", "resume", "R,u", "Go on", "Go on with the training from its last checkpoint"),
    Action("training", "adapter", "a", "Adapter", "Go to the workbench, and ask the student with this adapter there"),
    Action(
        "training",
        "default",
        "t",
        "Default",
        "Have its datasets answered with this adapter, or no longer",
        footer=False,
    ),
    Action("training", "fetch", "F", "Fetch", "Bring the adapter home from its host"),
    Action("training", "remove", "d", "Delete", "Delete the training with its checkpoints and its adapter"),
    Action("training", "manifest", "m", "Manifest", "Show what the training is made of", footer=False),
)
"""What can be done with a training, in the list of them and in its own screen."""

_JOB = (
    Action("job", "back", "escape", "Back", "Go back to the list"),
    *_finding("job", "Find a text in the log"),
    Action("job", "plots", "p", "Plots", "Show the plots beside the log, or not"),
)

_DISTILL = (
    Action("distill", "new", "n,enter", "New", "Choose what to distil and from whom, and see what it costs"),
    Action("distill", "pause", "p", "Pause", "Ask nothing more for now; what is under way is finished and kept"),
    Action(
        "distill",
        "resume",
        "p",
        "Go on",
        "Go on; after an end, it is begun again, and what was answered is not paid for again",
    ),
    Action("distill", "cancel", "x", "Cancel", "Ask nothing more; what is under way is finished and kept"),
    Action("distill", "search", "slash", "Search", "Find calls by what was asked or answered"),
    Action("distill", "failed_only", "e", "Failed", "List only the calls that failed, or all"),
    Action("distill", "totals", "t", "Totals", "Show what each teacher was asked, and what it cost"),
    Action(
        "distill",
        "next_run",
        "right_square_bracket",
        "Next",
        "Show the next of the distillations that were begun here",
        footer=False,
    ),
)

_MODELS = (
    Action("models", "use", "a", "Use", "Ask this model in the workbench"),
    Action("models", "add", "n", "Add", "Give a model file a name, or take in an adapter from a folder"),
    Action("models", "calibrate", "C", "Calibrate", "Find out on a dataset which strategy suits the student"),
    Action("models", "quantize", "z", "Quantize", "Write the model in another number of bits"),
    Action("models", "merge", "m", "Merge", "Make one adapter of several"),
    Action("models", "export", "e", "Export", "Write the adapter into a folder, for others and their programs"),
    Action("models", "stop", "x", "Stop", "Stop the writing of a model"),
    Action("models", "remove", "d", "Forget", "Forget the model; its file is deleted if kdtui made it"),
    Action("models", "details", "v", "View", "Show all that there is to know of the model"),
    Action("models", "copy_path", "y", "Path", "Copy the path of its file"),
)

_STUDIES = (Action("studies", "new", "n", "New", "Plan a study, see what it takes, and run it"),)

_STUDY = (
    Action("study", "run", "R", "Run", "Do what the study has left to do"),
    Action("study", "pause", "p", "Pause", "Pause the study; trainings that have begun go on"),
    Action("study", "resume", "p", "Resume", "Resume the study that is paused"),
    Action("study", "cancel", "x", "Stop", "Stop the study; what is done is kept, and trainings that have begun go on"),
    Action("study", "retry", "F", "Retry", "Do what the study has left to do, and try again what has failed"),
    Action("study", "answers", "a", "Answers", "Answer the questions of the study in sentences, with all comparisons"),
    Action("study", "report", "e", "Report", "Write the report of the study, or a table of its sessions"),
    Action("study", "delete", "d", "Delete", "Delete the study; its runs, samples and adapters stay"),
)
"""What can be done with a study, in the list of them and in its own screen."""

_CELL = (
    Action("cell", "metric", "m", "Metric", "Show and colour the cells by the next metric"),
    Action("cell", "next_question", "right_square_bracket", "Question", "Show the next question of the study"),
    Action(
        "cell",
        "previous_question",
        "left_square_bracket",
        "Previous",
        "Show the previous question of the study",
        footer=False,
    ),
    Action("cell", "mark", "space", "Mark", "Mark the cell, to compare two"),
    Action("cell", "compare", "v", "Compare", "Compare the two marked cells, or the marked one and this, by session"),
    Action("cell", "training", "t", "Training", "Open the training of the cell in the place Jobs, with its log"),
    Action(
        "cell", "only", "o", "Only this", "Do what this cell alone has left to do, and try again what has failed of it"
    ),
    Action("cell", "back", "escape", "Back", "Go back to the studies"),
)
"""What can be done in the matrix of a study."""

_MATRIX = (
    *_quietly(
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

_SCROLL = tuple(
    (name, keys, label, f"Scroll {label.lower()}", f"scroll({name!r})")
    for name, keys, label in (
        ("down", "j,down", "Down"),
        ("up", "k,up", "Up"),
        ("page_down", "pagedown,ctrl+f", "A page down"),
        ("page_up", "pageup,ctrl+b", "A page up"),
        ("home", "home", "To the top"),
        ("end", "end,G", "To the end"),
    )
)


def _scrolling(place: str) -> Iterator[Action]:
    for row in _SCROLL:
        yield Action(place, *row, footer=False)


_RUN = (
    Action("run", "resume", "R", "Go on", "Go on with the run, where sessions have no answer yet"),
    Action("run", "back", "escape", "Back", "Go back to the runs"),
    *_scrolling("run"),
)

_COMPARED = (
    Action("compared", "sort", "s", "Sort", "Sort by the next column"),
    Action("compared", "reverse", "S", "Reverse", "Sort in the other direction"),
    Action("compared", "back", "escape", "Back", "Go back to the runs"),
)

_DIALOGS = (
    Action("text", "close", "escape,q", "Close", "Close this"),
    Action("text", "copy", "c", "Copy", "Copy the text"),
    *_finding("text", "Find words in the text"),
    Action("text", "help", "question_mark", "Help", "List the keys", "app.help"),
    Action(
        "text",
        "messages",
        "exclamation_mark",
        "Messages",
        "Read again what the app has said",
        "app.messages",
        footer=False,
    ),
    *_scrolling("text"),
    Action("help", "close", "escape,question_mark,q,enter", "Close", "Close this"),
    *_finding("help", "Find a key by words of what it does"),
    *_scrolling("help"),
    Action("confirm", "yes", "y", "Yes", "Do it", "answer(True)"),
    Action("confirm", "no", "n,escape", "No", "Leave it as it is", "answer(False)"),
    Action("confirm", "copy", "c", "Copy", "Copy the command that does the same", "copy_command"),
    Action("form", "done", "ctrl+s", "Done", "End the form, and do what it is for", priority=True),
    Action("form", "close", "escape", "Close", "Close this, and do nothing"),
    Action("form", "copy", "ctrl+o", "Copy", "Copy the command that does the same", "copy_command", priority=True),
    Action("task", "stop", "ctrl+x", "Stop", "Stop what the form has begun", priority=True),
    Action("path", "complete", "tab", "Complete", "Complete the path, or go on where there are several", footer=False),
    Action("jump", "close", "escape,q", "Close", "Stay where you are"),
)

ACTIONS: tuple[Action, ...] = (
    *_APP,
    *_SCREEN,
    *_TABLE,
    *_SEARCH,
    *_ROWS,
    *_FIND,
    *_KNOWLEDGE,
    *_FACETS,
    *_PIECE,
    *_WORKBENCH,
    *_SESSION,
    *_DISTILL,
    *_SAMPLES,
    *_MODELS,
    *_RUNS,
    *_RUN,
    *_COMPARED,
    *_JOBS,
    *_TRAININGS,
    *_TRAINING,
    *_JOB,
    *_STUDIES,
    *_STUDY,
    *_CELL,
    *_MATRIX,
    *_scrolling("log"),
    *_DIALOGS,
)


OF_SCREENS = {
    **{place: place for place in PLACES},
    "session": "workbench",
    "piece": "knowledge",
    "training": "jobs",
    "study": "studies",
}
"""Where that can be done which is worth being found from elsewhere, by the kind of screen that it belongs to."""

ON_ROWS = frozenset(
    {
        *(f"knowledge.{name}" for name in ("mark", "sample", "delete", "export", "call")),
        *(f"samples.{name}" for name in ("pieces", "mark", "delete")),
        *(f"runs.{name}" for name in ("mark", "resume", "delete")),
        *(
            f"models.{name}"
            for name in ("use", "calibrate", "quantize", "merge", "export", "remove", "details", "copy_path")
        ),
        *(action.id for action in (*_TRAINING, *_STUDY)),
        "jobs.check",
    }
)
"""What is about the row under the cursor, or those that are marked: it is not done unless somebody sees them."""


def bindings(*places: str, shown: Collection[str] = ()) -> list[BindingType]:
    """The bindings of places, in the order of the footer.

    Args:
        shown: ids of actions that the footer shows, though usually it does not.
    """
    return [
        replace(action, footer=action.footer or action.id in shown).to_binding()
        for place in places
        for action in ACTIONS
        if action.place == place
    ]


def keys_of(keymap: Mapping[str, str]) -> dict[str, list[str]]:
    """For each action the keys that do it, with those of a keymap in place of the usual ones."""
    return {
        action.id: [key.strip() for key in keymap.get(action.id, action.keys).split(",") if key.strip()]
        for action in ACTIONS
    }
