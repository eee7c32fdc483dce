"""The code keeps to the sizes of CONTRIBUTING.md; its layers are kept by import-linter."""

import pytest

from tests.support.repository import ROOT

MOST_LINES = 450


@pytest.mark.parametrize("package", ["kdtui", "models", "store"])
def test_no_module_is_longer_than_a_reader_can_keep_in_mind(package: str) -> None:
    lengths = {path: path.read_text(encoding="utf-8").count("\n") for path in (ROOT / package).rglob("*.py")}
    assert lengths
    assert {str(path): length for path, length in lengths.items() if length > MOST_LINES} == {}
