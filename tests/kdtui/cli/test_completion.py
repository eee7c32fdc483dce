"""Shell completion: names in the store, words of options, and no side effects or messages."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kdtui.cli import completion
from kdtui.distill.applicable import AICL
from kdtui.workflows.data.import_dataset import import_dataset
from kdtui.workflows.knowledge.mine_patterns import mine_patterns
from kdtui.workflows.knowledge.sample import create_sample
from kdtui.workflows.model_names import RESERVED
from models.llama.quantization import QUANTIZATIONS
from models.student_protocol import STRATEGIES
from store.hosts import Host, add_host
from store.names import names_with
from store.records import FORMATS, HostSettings, RunSettings
from store.runs import start_run
from store.sqlite import Database

Complete = Callable[[str], list[str]]


@pytest.fixture
def complete(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Complete:
    """Return the completions that bash gets for a command line."""
    from kdtui.__main__ import main

    def ask(line: str) -> list[str]:
        monkeypatch.setattr(sys, "argv", ["kdtui"])
        monkeypatch.setenv(completion.VARIABLE, "complete_bash")
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", str(len(line.split()) - (not line.endswith(" "))))
        with pytest.raises(SystemExit):
            main()
        out, err = capfd.readouterr()
        assert err == ""
        return out.split("\n")[:-1] if out.strip() else []

    return ask


@pytest.fixture
def stored(db: Database, outdoor: Path) -> None:
    list(import_dataset(db, outdoor, "outdoor"))
    list(import_dataset(db, outdoor, "two words"))
    mine_patterns(db, "outdoor")
    create_sample(db, "half", ["outdoor"], ("pattern",), strategy="random", ratio=0.5, seed=0, student="smollm2")
    start_run(db, "outdoor", "test", "patterns", RunSettings("patterns"))
    add_host(db, Host("gpu", "gpu", "~/kdtui", HostSettings()))


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("kdtui data show --dataset ", ["outdoor"]),
        ("kdtui data show o3", ["o30", "o31", "o32", "o33", "o34", "o35", "o36"]),
        ("kdtui generate o01 o3", ["o30", "o31", "o32", "o33", "o34", "o35", "o36"]),
        ("kdtui data rm ou", ["outdoor"]),
        ("kdtui run show ", ["1"]),
        ("kdtui evaluate --sample h", ["half"]),
        ("kdtui sample show ", ["half"]),
        ("kdtui host check g", ["gpu"]),
        ("kdtui sft launch --host ", ["gpu"]),
        ("kdtui evaluate --student p", ["patterns"]),
        ("kdtui evaluate --adapter n", ["none"]),
        ("kdtui sft launch --from sh", ["shipped"]),
        ("kdtui sft default sh", ["shipped"]),
        ("kdtui evaluate --strategy ", ["list", "drafts", "pairs", "aicl"]),
        ("kdtui evaluate --split v", ["valid"]),
        ("kdtui evaluate --knowledge rule,", ["rule,pattern", "rule,thought", "rule,none"]),
        ("kdtui data ls --format m", ["markdown"]),
        ("kdtui know", ["knowledge"]),
        ("kdtui data ls --js", ["--json"]),
        ("kdtui data show --dataset nothing-is-called-like-this", []),
    ],
)
def test_completions_are_offered(complete: Complete, line: str, offered: list[str]) -> None:
    assert complete(line) == offered


@pytest.mark.usefixtures("stored")
def test_the_database_of_the_command_line_is_used(complete: Complete, tmp_path: Path) -> None:
    assert complete(f"kdtui --db {tmp_path}/other.db data show --dataset ") == []
    assert complete(f"kdtui data show --db {tmp_path}/other.db --dataset ") == []
    assert not (tmp_path / "other.db").exists()


@pytest.mark.usefixtures("stored")
def test_names_that_a_shell_would_split_are_left_out(complete: Complete) -> None:
    assert complete("kdtui data show --dataset t") == []


def test_a_missing_database_is_not_created_and_gives_no_message(complete: Complete, database_of_the_test: Path) -> None:
    assert complete("kdtui data show --dataset ") == []
    assert not database_of_the_test.parent.exists()


@pytest.mark.parametrize("content", [b"dear diary, " * 100, b""])
def test_a_file_that_is_not_a_database_offers_nothing(
    complete: Complete, database_of_the_test: Path, content: bytes
) -> None:
    database_of_the_test.parent.mkdir()
    database_of_the_test.write_bytes(content)
    assert complete("kdtui data show --dataset ") == []
    assert database_of_the_test.read_bytes() == content


@pytest.mark.usefixtures("stored")
def test_a_closed_database_stays_unchanged(db: Database, complete: Complete, database_of_the_test: Path) -> None:
    db.close()
    before = {path.name: path.read_bytes() for path in database_of_the_test.parent.iterdir()}
    database_of_the_test.chmod(0o444)
    assert complete("kdtui data show --dataset ") == ["outdoor"]
    assert {path.name: path.read_bytes() for path in database_of_the_test.parent.iterdir()} == before


@pytest.mark.usefixtures("stored")
def test_names_that_another_process_has_just_written_are_offered(db: Database, database_of_the_test: Path) -> None:
    start_run(db, "outdoor", "test", "patterns", RunSettings("patterns"))
    assert database_of_the_test.with_name("kdtui.db-wal").stat().st_size
    assert names_with(database_of_the_test, "runs") == ["2", "1"]


@pytest.mark.usefixtures("stored")
def test_completion_does_not_wait_for_a_locked_database(db: Database, database_of_the_test: Path) -> None:
    with db.atomic():
        db.execute("DELETE FROM runs")
        started = time.perf_counter()
        assert names_with(database_of_the_test, "runs") == ["1"]
    assert time.perf_counter() - started < 5


@pytest.mark.usefixtures("stored")
def test_completion_imports_nothing_heavy(database_of_the_test: Path) -> None:
    code = (
        "import sys, atexit\n"
        "heavy = ['torch', 'llama_cpp', 'openai', 'sklearn', 'scipy', 'textual', 'numpy', 'rich']\n"
        "atexit.register(lambda: print([name for name in heavy if name in sys.modules], file=sys.stderr))\n"
        "from kdtui.__main__ import main\n"
        "main()"
    )
    asked = {completion.VARIABLE: "complete_bash", "COMP_WORDS": "kdtui data show --dataset ", "COMP_CWORD": "4"}
    environment = os.environ | asked | {"KDTUI_DB": str(database_of_the_test)}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert (result.stdout, result.stderr) == ("outdoor\n", "[]\n")


def test_the_offered_words_are_those_of_the_program() -> None:
    assert (*STRATEGIES, AICL) == completion.STRATEGIES
    assert completion.STUDENTS == RESERVED
    assert completion.FORMATS == FORMATS
    assert tuple(QUANTIZATIONS) == completion.QUANTIZATIONS


@pytest.mark.parametrize("shell", ["bash"])
def test_a_script_is_installed_where_the_shell_finds_it(tmp_path: Path, shell: str) -> None:
    kdtui = Path(sys.executable).with_name("kdtui")
    environment = os.environ | {"HOME": str(tmp_path)}
    for _ in range(2):
        command = [shell, "-c", f"{kdtui} --install-completion; exit $?"]
        result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert (result.returncode, result.stdout) == (0, "")
        assert "installed completion for bash in" in result.stderr
    script = tmp_path / ".bash_completions" / "kdtui.sh"
    assert "_kdtui_completion" in script.read_text()
    assert (tmp_path / ".bashrc").read_text().count(str(script)) == 1
    printed = subprocess.run(
        [shell, "-c", f"{kdtui} --show-completion; exit $?"], capture_output=True, text=True, check=True
    )
    assert printed.stdout.strip() == script.read_text().strip()


def test_an_unsupported_shell_is_named(tmp_path: Path) -> None:
    kdtui = Path(sys.executable).with_name("kdtui")
    environment = {"HOME": str(tmp_path), "SHELL": "/bin/dash", "PATH": os.environ["PATH"]}
    command = ["dash", "-c", f"{kdtui} --install-completion; exit $?"]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert "run this in one of: bash, zsh, fish" in result.stderr
    assert list(tmp_path.iterdir()) == []
