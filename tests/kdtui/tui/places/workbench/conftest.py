"""Fixtures for tests of the place Workbench."""

import pytest

from kdtui.workflows.student import open as student_open
from tests.support.session_place import Student


@pytest.fixture
def student(monkeypatch: pytest.MonkeyPatch) -> Student:
    """Install a stand-in for all students; without answers, it writes endlessly."""
    student = Student()
    monkeypatch.setattr(student_open, "open_student", student)
    return student
