"""Answers of a student to sessions with these titles."""

from collections.abc import Sequence
from typing import cast

from models.bundle_list import WrittenBundle
from models.llama.student import Student
from models.messages import Message
from models.student_protocol import Answered, Form, SessionTask


def answers(student: Student, sessions: Sequence[list[str]]) -> dict[int, list[WrittenBundle]]:
    """Answer sessions with these titles together; return the answers by index."""
    events = student.answer(task(place, titles) for place, titles in enumerate(sessions))
    return {cast("int", event.key): list(event.bundles) for event in events if isinstance(event, Answered)}


def answer(student: Student, titles: list[str]) -> list[WrittenBundle]:
    return answers(student, [titles])[0]


def task(key: object, titles: list[str]) -> SessionTask:
    def ask(_: Form, order: Sequence[int]) -> list[Message]:
        lines = "\n".join(f"{number}. {titles[position - 1]}" for number, position in enumerate(order, start=1))
        return [Message("system", "Write bundles."), Message("user", lines)]

    return SessionTask(key, len(titles), ask)
