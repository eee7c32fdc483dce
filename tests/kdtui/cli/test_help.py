"""Help pages: valid examples, words instead of internals, and whole sentences."""

import re
import shlex
from typing import Any

import pytest

from kdtui.cli.commands import CommandWithExamples, GroupWithExamples, examples_of, summary
from tests.support.commands import Kdtui
from tests.support.help_pages import PAGES, parse


@pytest.mark.parametrize("path", PAGES)
def test_each_page_is_in_words_and_has_an_example(kdtui: Kdtui, path: str) -> None:
    assert isinstance(PAGES[path], CommandWithExamples | GroupWithExamples)
    result = kdtui(*path.split()[1:], "--help")
    assert result.code == 0
    assert result.out.startswith(f"Usage: {path} ")
    internal = re.search(r"\brange\b|x[<>]=|<\w+>|922337|dynamic|INTEGER|list\[|Value error", result.out)
    assert internal is None, internal
    assert "\nExamples:\n  kdtui" in result.out or "| kdtui" in result.out
    assert summary(PAGES[path])[0].isupper()
    assert "..." not in result.out.partition("Commands:")[2].partition("Examples:")[0]


@pytest.mark.parametrize(
    ("path", "example"), [(path, example) for path, page in PAGES.items() for example in examples_of(page)]
)
def test_each_example_can_be_parsed(path: str, example: str) -> None:
    words = shlex.split(example.rpartition("| ")[2])
    assert words[0] == "kdtui"
    assert shlex.join(words).startswith(path)
    parse(words)


@pytest.mark.parametrize(
    ("path", "example"),
    [
        (path, example)
        for path, page in PAGES.items()
        for example in examples_of(page)
        if path in ("kdtui data ls", "kdtui data show", "kdtui knowledge for", "kdtui knowledge ls", "kdtui run ls")
    ],
)
def test_read_only_examples_run_after_the_import_of_the_demo(
    kdtui: Kdtui, outdoor: Any, path: str, example: str
) -> None:
    assert path
    assert kdtui("data", "import", outdoor, "--dataset", "demo-outdoor").code == 0
    assert kdtui("knowledge", "mine").code == 0
    assert kdtui("knowledge", "distill").code == 0
    result = kdtui(*shlex.split(example)[1:])
    assert result.code == 0, result.err


def test_the_first_page_says_how_to_open_the_app(kdtui: Kdtui) -> None:
    assert "Without a command, the app opens." in kdtui("--help").out


def test_a_number_is_explained_with_its_range_and_default(kdtui: Kdtui) -> None:
    text = " ".join(kdtui("knowledge", "mine", "--help").out.split())
    assert "--max-size N Maximum number of categories in a pattern. [2 to 6; default: 3]" in text
    assert "--seed N Seed of the 7:1:2 split, if the data has no splits. [default: 0]" in " ".join(
        kdtui("data", "import", "--help").out.split()
    )
