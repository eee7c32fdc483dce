"""Generation by the student against llama-cpp-python's high-level API on the same prompts.

    python -m benchmarks.generation [--sessions 20]

The other side has a grammar for the same format and the same threads, and is stopped after as many tokens as ours
wrote, so that both do the same work; its grammar has no end, or it would now and then do less. Both keep the prefix
that a prompt shares with the one before.
"""

import argparse
from collections.abc import Iterable
from importlib.resources import files
from time import perf_counter
from typing import Any

from llama_cpp import Llama
from llama_cpp.llama_grammar import LlamaGrammar

from benchmarks.measure import report
from kdtui.bundling.prompt import session_messages
from kdtui.exchange.jsonl import read_sessions
from models.embedded import embedded_student
from models.llama import default_threads
from models.student import DEFAULT_CONTEXT, Student

_GRAMMAR = r"""
root ::= line "\n" root
line ::= number ("," number)+ ": " intent
number ::= [1-9] [0-9]?
intent ::= [a-zA-Z0-9&/+' -]+
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=20)
    count = parser.parse_args().sessions
    data = (files("kdtui") / "demo_data" / "outdoor.jsonl").read_bytes().splitlines()
    sessions = [session for _, session, _ in read_sessions(data, "outdoor")][:count]
    prompts = [session_messages(session) for session in sessions]

    answers: list[int] = []
    with Student(embedded_student()) as student:
        list(student.write_bundles(prompts[-1], len(sessions[-1].items)))
        started = perf_counter()
        for session, prompt in zip(sessions, prompts, strict=True):
            bundles = [each for each in student.write_bundles(prompt, len(session.items)) if each.complete]
            lines = (f"{','.join(map(str, bundle.positions))}:{bundle.intent}\n" for bundle in bundles)
            answers.append(sum(len(student.model.tokenize(line)) for line in lines))
        ours = perf_counter() - started

    llama = Llama(str(embedded_student()), n_ctx=DEFAULT_CONTEXT, n_threads=default_threads(), verbose=False)
    grammar = LlamaGrammar.from_string(_GRAMMAR, verbose=False)

    def complete(messages: Iterable[Any], tokens: int) -> int:
        answer: Any = llama.create_chat_completion(
            [{"role": each.role, "content": each.content} for each in messages],
            grammar=grammar,
            temperature=0,
            max_tokens=tokens,
        )
        return int(answer["usage"]["completion_tokens"])

    complete(prompts[-1], answers[-1])
    started = perf_counter()
    written = [complete(prompt, tokens) for prompt, tokens in zip(prompts, answers, strict=True)]
    other = perf_counter() - started
    assert written == answers, "both sides must write as much"
    report("seconds a session, against high level", ours / len(sessions), other / len(sessions), "s ", "at most 1")


if __name__ == "__main__":
    main()
