"""Command lines with mistakes, and names that do not exist."""

from tests.inputs.case import DEMO, Case

_INTERNAL = ("Value error", "range", "x>=", "922337", "Error:", "Usage:")


def wrong(situation: str, command: tuple[str, ...], expected: str) -> Case:
    return Case(situation, command, expected, code=2, forbidden=_INTERNAL)


def absent(situation: str, command: tuple[str, ...], expected: str, *before: tuple[str, ...]) -> Case:
    return Case(situation, command, expected, before=(DEMO, *before))


_HALF = ("sample", "create", "half", "--format", "pattern")
_MINED = ("knowledge", "mine")

CASES = [
    wrong(
        "an option is misspelled", ("evaluate", "--datset", "x"), "no such option --datset; did you mean --dataset?\n"
    ),
    wrong("an option is like no other", ("data", "ls", "--zzz"), "no such option --zzz; kdtui data ls --help lists"),
    wrong("an option stands before the command", ("--dataset", "x"), "put it after a command: kdtui COMMAND --dataset"),
    wrong("a command is misspelled", ("evalute",), "there is no command 'evalute'; did you mean 'evaluate'?\n"),
    wrong(
        "a command has a name from other programs",
        ("data", "delete", "x"),
        "there is no command 'delete'; did you mean 'rm'?\n",
    ),
    wrong(
        "a command is named without its group",
        ("import", "x"),
        "did you mean 'kdtui data import' or 'kdtui knowledge import'?\n",
    ),
    wrong("a command is like no other", ("data", "dance"), "there is no command 'dance'; kdtui data --help lists"),
    wrong("a value is not one of the choices of an option", ("evaluate", "--split", "tset"), "did you mean test?\n"),
    wrong("a number is a word", ("evaluate", "--limit", "x"), "--limit takes a whole number, 1 or more, not 'x'\n"),
    wrong(
        "a number is too small", ("generate", "s", "-k", "0"), "--neighbours takes a whole number, 1 to 50, not '0'\n"
    ),
    wrong("a number is beyond the database", ("knowledge", "ls", "-n", "9" * 30), "999 is too large\n"),
    wrong(
        "an argument is missing", ("data", "import"), "PATH is missing; kdtui data import --help shows the arguments\n"
    ),
    wrong("an option is missing", ("data", "import", "x"), "--dataset NAME is missing; kdtui data import --help"),
    wrong("an option has no value", ("data", "import", "x", "--dataset"), "--dataset needs a value"),
    wrong("a flag has a value", ("data", "ls", "--json=3"), "--json takes no value\n"),
    wrong("there is an extra word", ("data", "ls", "\x1b[2Jx"), "kdtui data ls does not take"),
    absent("a dataset is misspelled", ("evaluate", "-d", "dmeo"), "there is no dataset 'dmeo'; did you mean 'demo'?"),
    absent("a dataset is written in capitals", ("evaluate", "-d", "DEMO"), "did you mean 'demo'?"),
    absent(
        "a session is misspelled",
        ("data", "show", "o1"),
        "there is no session 'o1' in dataset 'demo'; did you mean 'o",
    ),
    absent(
        "a session is in another dataset",
        ("data", "show", "k01", "--dataset", "demo"),
        "there is no session 'k01' in dataset 'demo'; it is in 'kitchen'",
        ("data", "import", "{tmp}/k.jsonl", "--dataset", "kitchen"),
    ),
    absent(
        "a sample is misspelled",
        ("sample", "show", "hlaf"),
        "there is no sample 'hlaf'; did you mean 'half'?",
        _MINED,
        _HALF,
    ),
    absent("a student is misspelled", ("generate", "o34", "--student", "smolm2"), "did you mean 'smollm2'?"),
    absent("an adapter is misspelled", ("generate", "o34", "--adapter", "shiped"), "did you mean 'shipped'?"),
    absent("a strategy is misspelled", ("generate", "o34", "--strategy", "pair"), "did you mean 'pairs'?"),
    absent("a format is misspelled", ("knowledge", "ls", "--format", "rules"), "did you mean 'rule'?"),
    absent("a quantization is misspelled", ("model", "quantize", "smollm2", "--to", "Q40"), "did you mean 'Q4_0'?"),
    absent("a base is misspelled", ("sft", "data", "--base", "smolm2"), "did you mean 'smollm2'?"),
    absent("there is no host at all", ("host", "check", "gpu"), "add one with: kdtui host add gpu --ssh ALIAS"),
    absent(
        "a host is misspelled",
        ("host", "check", "gup"),
        "there is no host 'gup'; did you mean 'gpu'?",
        ("host", "add", "gpu", "--local", "--workdir", "{tmp}"),
    ),
    absent("a run does not exist", ("run", "show", "7"), "there is no run 7; kdtui run ls shows those that there are"),
]
CASES = [
    Case(**{**case.__dict__, "files": {"k.jsonl": '{"session": "k01", "items": [{"id": "i"}]}'}})
    if "another dataset" in case.situation
    else case
    for case in CASES
]
