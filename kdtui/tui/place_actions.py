"""The actions of the places and of the screens that they open."""

from kdtui.tui.action import Action, find_actions, hidden_actions, scroll_actions

_KNOWLEDGE = (
    Action("knowledge", "search", "slash", "Search", "Search by words and filters, such as format:rule"),
    Action("knowledge", "mark", "space", "Mark", "Mark or unmark the piece; other actions then use all marked pieces"),
    Action("knowledge", "sample", "m", "Sample", "Make a sample of the marked pieces, or of this one"),
    Action("knowledge", "delete", "d", "Delete", "Delete the marked pieces, or this one"),
    Action("knowledge", "sort", "s", "Sort", "Sort by the next measure"),
    Action("knowledge", "facets", "F", "Facets", "Filter by format, dataset, status, teacher or sample"),
    *hidden_actions(
        "knowledge",
        ("mark_all", "a", "Mark all", "Mark all matches, or unmark everything"),
        ("export", "e", "Export", "Export the marked pieces, or this one, to a folder"),
        ("undo", "u", "Undo", "Restore the pieces that were deleted last"),
        ("reverse", "S", "Reverse", "Reverse the order"),
        ("call", "p", "Prompt", "Show the teacher's prompt for this piece, and its answer"),
        ("clear_search", "escape", "Show all", "Show all knowledge again"),
    ),
)

_FACETS = tuple(
    hidden_actions(
        "facets",
        ("down", "j", "Down", "Go to the next value"),
        ("up", "k", "Up", "Go to the previous value"),
        ("leave", "escape", "Back", "Go from the facets to the list"),
    )
)

_PIECE = (
    Action("piece", "try_it", "t", "Try it", "Let a student answer a session without this piece, and with only it"),
    Action("piece", "open_session", "o", "Session", "Open a session that the piece comes from, in the workbench"),
)

_WORKBENCH = (
    Action("workbench", "search", "slash", "Search", "Search sessions by id, or by words of titles and categories"),
    Action("workbench", "choose_dataset", "d", "Dataset", "Choose another dataset"),
    Action("workbench", "type_session", "n", "New", "Type or paste the products of a session, and open it"),
    Action("workbench", "clear_search", "escape", "Show all", "Show all sessions again", footer=False),
)

_SESSION = (
    Action("session", "generate", "g", "Generate", "Let the student generate bundles"),
    Action("session", "next_student", "a", "Student", "Choose the next student or adapter"),
    Action("session", "toggle_patterns", "p", "Patterns", "Show the student the mined patterns, or hide them"),
    Action("session", "settings", "s", "Settings", "Choose the student, its knowledge and its strategy"),
    Action(
        "session", "calibrate", "C", "Calibrate", "Find the best strategy for this student on the dataset", footer=False
    ),
    Action("session", "compare", "v", "Compare", "Compare with the bundles of other settings"),
    Action("session", "other_side", "o", "Other side", "Switch to the other side of the comparison"),
    Action("session", "why", "w", "Prompt", "Show the exact prompt of the student, and the knowledge in it"),
    Action("session", "cancel", "escape", "Stop", "Stop the student"),
    Action("session", "single", "escape", "Close", "Close the comparison"),
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
    Action("runs", "plot", "p", "Plot", "Plot quality against time, then against tokens, then hide the plot"),
    Action("runs", "mark", "space", "Mark", "Mark the run, to compare two"),
    Action(
        "runs", "compare", "v", "Compare", "Compare the two marked runs, or the marked run and this one, by session"
    ),
    Action("runs", "sort", "s", "Sort", "Sort by the next column"),
    Action("runs", "search", "slash", "Search", "Search runs by words of names, datasets, splits, tags and notes"),
    Action("runs", "resume", "R", "Resume", "Resume the run: answer the remaining sessions"),
    Action("runs", "cancel", "x", "Stop", "Stop the evaluation; its answers are kept"),
    Action("runs", "note", "t", "Note", "Give the run tags and a note"),
    Action("runs", "delete", "d", "Delete", "Delete the run with its answers"),
    *hidden_actions(
        "runs",
        ("reverse", "S", "Reverse", "Reverse the order"),
        ("floors", "F", "Floors", "Show the floors among the runs, or hide them"),
        ("clear_search", "escape", "Show all", "Show all runs again"),
    ),
)

_JOBS = (
    Action("jobs", "new", "n", "New", "Start a training, on this machine or on a host"),
    Action("jobs", "check", "h", "Check", "Check whether the host can train, and what it lacks"),
)

_TRAININGS = (
    Action("trainings", "open", "enter", "Log and loss", "Open the training: its log and its loss curve", "select"),
)
"""What the list of trainings does differently from other lists."""

TRAINING = (
    Action("training", "cancel", "x", "Stop", "Stop the training after a checkpoint; a second time kills it"),
    Action("training", "resume", "R,u", "Resume", "Resume the training from its last checkpoint"),
    Action("training", "adapter", "a", "Adapter", "Go to the workbench, and ask the student with this adapter"),
    Action(
        "training",
        "default",
        "t",
        "Default",
        "Make this adapter the default for its datasets, or clear the default",
        footer=False,
    ),
    Action("training", "fetch", "F", "Fetch", "Copy the adapter from its host to this machine"),
    Action("training", "remove", "d", "Delete", "Delete the training with its checkpoints and its adapter"),
    Action("training", "manifest", "m", "Manifest", "Show the settings and the data of the training", footer=False),
)
"""Actions on a training, in the list of trainings and in its own screen."""

_JOB = (
    Action("job", "back", "escape", "Back", "Go back to the list"),
    *find_actions("job", "Find a text in the log"),
    Action("job", "plots", "p", "Plots", "Show the plots next to the log, or hide them"),
)

_DISTILL = (
    Action("distill", "new", "n,enter", "New", "Choose what to distil from which teacher, and see the cost"),
    Action("distill", "pause", "p", "Pause", "Pause the distillation; calls in progress are finished and kept"),
    Action(
        "distill",
        "resume",
        "p",
        "Resume",
        "Resume the distillation, or start it again after it ended; no answer is paid for twice",
    ),
    Action("distill", "cancel", "x", "Stop", "Stop the distillation; calls in progress are finished and kept"),
    Action("distill", "search", "slash", "Search", "Search calls by their prompts and answers"),
    Action("distill", "failed_only", "e", "Failed", "List only failed calls, or all"),
    Action("distill", "totals", "t", "Totals", "Show the calls and the cost of each teacher"),
    Action(
        "distill",
        "next_run",
        "right_square_bracket",
        "Next",
        "Show the next distillation that was started here",
        footer=False,
    ),
)

_MODELS = (
    Action("models", "use", "a", "Use", "Ask this model in the workbench"),
    Action("models", "add", "n", "Add", "Give a model file a name, or import an adapter from a folder"),
    Action("models", "calibrate", "C", "Calibrate", "Find the best strategy for the student on a dataset"),
    Action("models", "quantize", "z", "Quantize", "Write a quantized copy of the model"),
    Action("models", "merge", "m", "Merge", "Merge several adapters into one"),
    Action("models", "export", "e", "Export", "Export the adapter to a folder, for other people and programs"),
    Action("models", "stop", "x", "Stop", "Stop writing a model"),
    Action("models", "remove", "d", "Delete", "Delete the model from the list, and its file if kdtui made it"),
    Action("models", "details", "v", "View", "Show all details of the model"),
    Action("models", "copy_path", "y", "Path", "Copy the path of its file"),
)

_STUDIES = (Action("studies", "new", "n", "New", "Plan a study, see its cost, and run it"),)

STUDY = (
    Action("study", "run", "R", "Run", "Do the remaining work of the study"),
    Action("study", "pause", "p", "Pause", "Pause the study; running trainings continue"),
    Action("study", "resume", "p", "Resume", "Resume the paused study"),
    Action("study", "cancel", "x", "Stop", "Stop the study; results are kept, and running trainings continue"),
    Action("study", "retry", "F", "Retry", "Do the remaining work of the study, and retry failed steps"),
    Action("study", "answers", "a", "Answers", "Show the answers to the questions of the study, with all comparisons"),
    Action("study", "report", "e", "Report", "Write the report of the study, or a table of its sessions"),
    Action("study", "delete", "d", "Delete", "Delete the study; its runs, samples and adapters stay"),
)
"""Actions on a study, in the list of studies and in its own screen."""

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
    Action(
        "cell", "compare", "v", "Compare", "Compare the two marked cells, or the marked cell and this one, by session"
    ),
    Action("cell", "training", "t", "Training", "Open the training of the cell in the place Jobs, with its log"),
    Action("cell", "only", "o", "Only this", "Do the remaining work of this cell only, and retry its failed steps"),
    Action("cell", "back", "escape", "Back", "Go back to the studies"),
)
"""Actions in the matrix of a study."""

_RUN = (
    Action("run", "resume", "R", "Resume", "Resume the run: answer the remaining sessions"),
    Action("run", "back", "escape", "Back", "Go back to the runs"),
    *scroll_actions("run"),
)

_COMPARED = (
    Action("compared", "sort", "s", "Sort", "Sort by the next column"),
    Action("compared", "reverse", "S", "Reverse", "Reverse the order"),
    Action("compared", "back", "escape", "Back", "Go back to the runs"),
)

PLACE_ACTIONS = (
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
    *TRAINING,
    *_JOB,
    *_STUDIES,
    *STUDY,
    *_CELL,
)
"""All of them, in the order of the help."""
