"""Every input in `tests/inputs/cases` gets the expected message and exit code, and never a traceback.

To try another input, add a line to one of the tables there, or a module with a table `CASES` of its own.
"""

from importlib import import_module
from pathlib import Path

import pytest

from tests.inputs.case import Case
from tests.support.commands import Kdtui
from tests.support.tiny import remember_model

CASES: list[Case] = [
    case
    for module in sorted((Path(__file__).parent / "cases").glob("*.py"))
    for case in import_module(f"tests.inputs.cases.{module.stem}").CASES
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.situation)
def test_an_input_gets_the_expected_answer(case: Case, kdtui: Kdtui, tmp_path: Path, outdoor: Path) -> None:
    def filled(text: str) -> str:
        return text.replace("{tmp}", str(tmp_path)).replace("{outdoor}", str(outdoor))

    for name, content in case.files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    if "base.gguf" in case.files:
        # This base of adapters is whole. Each first load takes a process of its own.
        remember_model(tmp_path / "base.gguf")
    for command in case.before:
        prepared = kdtui(*map(filled, command))
        assert prepared.code == 0, prepared.err
    result = kdtui(*map(filled, case.command))
    printed = result.err if case.code else result.out + result.err
    assert filled(case.expected) in printed
    assert result.code == case.code
    assert "Traceback" not in printed
    for text in case.forbidden:
        assert text not in result.out + result.err
    if case.code == 1:
        assert result.err.count("\n") == 1, f"expected one sentence, not {result.err!r}"
