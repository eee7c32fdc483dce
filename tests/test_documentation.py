"""The documentation: valid links, commands that exist, and a short README."""

import re
import shlex
from collections import Counter
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token
from typer.core import TyperGroup

from models.embedded import SHIPPED_FOLDER
from tests.support.help_pages import PAGES as COMMANDS
from tests.support.help_pages import parse
from tests.support.repository import ROOT

README = ROOT / "README.md"
CODE_GUIDES = [ROOT / f"{name}.md" for name in ("ARCHITECTURE", "CONTRIBUTING", "SECURITY")]
GUIDES = [
    README,
    *CODE_GUIDES,
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "models" / "shipped").glob("*.md")),
]
PAGES = [*GUIDES, ROOT / "CHANGELOG.md"]
SOURCES = [path for name in ("kdtui", "models", "store", "benchmarks") for path in sorted((ROOT / name).rglob("*.py"))]


def name(path: object) -> str:
    return path.relative_to(ROOT).as_posix() if isinstance(path, Path) else str(path)


def tokens(page: Path) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse(page.read_text(encoding="utf-8"))


def spans(page: Path) -> Iterator[Token]:
    """Yield the inline parts of a page: words, links, pictures and code."""
    for token in tokens(page):
        yield from token.children or ()


def targets(page: Path) -> list[str]:
    """Return the targets of the links and pictures of a page, except those on other sites."""
    links = [str(token.attrs.get("href", token.attrs.get("src", ""))) for token in spans(page)]
    return [link for link in links if link and not urlsplit(link).scheme]


def headings(page: Path) -> list[str]:
    parsed = tokens(page)
    return [parsed[at + 1].content for at, token in enumerate(parsed) if token.type == "heading_open"]


def anchors(page: Path) -> set[str]:
    """Return the anchors of the headings of a page, as GitHub makes them."""
    seen: Counter[str] = Counter()
    made = set()
    for heading in headings(page):
        words = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        made.add(f"{words}-{seen[words]}" if seen[words] else words)
        seen[words] += 1
    return made


def blocks(page: Path) -> Iterator[str]:
    """Yield the lines of the code blocks of a page; a line that ends with a backslash is joined with the next."""
    for token in tokens(page):
        if token.type == "fence":
            yield from token.content.replace("\\\n", " ").splitlines()


def commands(page: Path) -> list[str]:
    """Return the calls of kdtui in the code blocks of a page, without comments and commands before a pipe."""
    lines = (re.sub(r"\s# .*", "", line.removeprefix("$ ")).rpartition(" | ")[2] for line in blocks(page))
    return [line for line in lines if re.match(r"kdtui( |$)", line)]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_each_link_leads_to_a_file_and_a_heading_that_are_there(page: Path) -> None:
    for target in targets(page):
        link = urlsplit(target)
        path = (page.parent / unquote(link.path)).resolve() if link.path else page
        assert path.exists(), target
        assert path.is_relative_to(ROOT), target
        if link.fragment:
            assert link.fragment in anchors(path), target


@pytest.mark.parametrize("page", [path for path in GUIDES if commands(path)], ids=name)
def test_each_command_in_a_block_can_be_parsed(page: Path) -> None:
    for line in commands(page):
        parse(shlex.split(line))


@pytest.mark.parametrize("page", GUIDES, ids=name)
def test_each_command_in_a_sentence_exists_with_its_options(page: Path) -> None:
    for code in (token.content for token in spans(page) if token.type == "code_inline"):
        if not code.startswith("kdtui "):
            continue
        words = code.split()
        path = next(" ".join(words[:depth]) for depth in (3, 2, 1) if " ".join(words[:depth]) in COMMANDS)
        rest = words[len(path.split()) :]
        assert not rest or rest[0].startswith("-") or not isinstance(COMMANDS[path], TyperGroup), code
        known = {"--help", *(option for parameter in COMMANDS[path].params for option in parameter.opts)}
        assert {word.partition("=")[0] for word in words if word.startswith("--")} <= known, code


def test_the_readme_is_short_and_leads_to_every_page() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 150
    linked = {(ROOT / urlsplit(target).path).resolve() for target in targets(README)}
    assert linked >= set((ROOT / "docs").glob("*.md"))


def test_the_program_refers_to_pages_and_headings_that_are_there() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in SOURCES)
    named = re.findall(r"(docs/[\w-]+\.md)(?: says under '([^']+)')?", text)
    assert named
    for page, heading in named:
        assert (ROOT / page).exists(), page
        assert not heading or heading in headings(ROOT / page), (page, heading)


@pytest.mark.parametrize("page", GUIDES, ids=name)
def test_each_path_in_the_code_of_this_repository_exists(page: Path) -> None:
    """Names in capitals stand for others: `kdtui/cli/NOUN.py`."""
    for code in (token.content for token in spans(page) if token.type == "code_inline"):
        if re.fullmatch(r"(kdtui|models|store|tests|benchmarks|docs|\.ci)/[\w./-]+", code) and not re.search(
            "[A-Z]{2}", code
        ):
            assert (ROOT / code).exists(), code


def test_the_card_of_the_student_has_the_hash_of_each_file_of_weights() -> None:
    card = (SHIPPED_FOLDER / "README.md").read_text(encoding="utf-8")
    for path in SHIPPED_FOLDER.iterdir():
        if path.suffix in (".gguf", ".safetensors") or path.name == "pairs.json":
            assert f"| `{path.name}` | `{sha256(path.read_bytes()).hexdigest()}` |" in card
