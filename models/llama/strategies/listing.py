"""The strategy of the paper: the student writes the list of bundles token by token, the likeliest token each time."""

from dataclasses import replace

from models.bundle_list import WrittenBundle
from models.chat import ChatTokenizer
from models.llama.answer_tokens import AnswerTokens
from models.llama.decoding import Program
from models.llama.engine import AnswerPlan, Workspace
from models.llama.strategies.base import Emit
from models.llama.strategies.writing import most_list_tokens, write_list
from models.pairs.calibration import BundleCalibration
from models.student_protocol import SessionTask


class ListStrategy:
    """One greedy list per session."""

    def __init__(self, calibration: BundleCalibration) -> None:
        self._calibration = calibration

    def plan(self, task: SessionTask, chat: ChatTokenizer, answer: AnswerTokens, _: int, emit: Emit) -> AnswerPlan:
        """Plan one branch: the prompt, and the list after it."""
        prompt = chat.prompt(task.make_prompt("list", task.in_order))

        def calibrated(bundle: WrittenBundle) -> WrittenBundle:
            size = len(bundle.positions)
            confidence = self._calibration.confidence(bundle.confidence, size, task.products)
            return replace(bundle, confidence=confidence)

        def start(workspace: Workspace) -> Program[list[WrittenBundle]]:
            bundles = yield from write_list(
                answer,
                workspace.open(),
                prompt.own,
                task.products,
                lambda bundle: emit(calibrated(bundle)),
                thinks=task.thinks,
            )
            return [calibrated(bundle) for bundle in bundles]

        return AnswerPlan(
            prompt.shared, len(prompt.own) + most_list_tokens(answer, task.products, thinks=task.thinks), 1, start
        )
