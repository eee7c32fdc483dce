"""The student engine against other ways to run the same model on the same sessions.

    python -m benchmarks.generation DATA [--sessions 48] [--seed 0] [--student PATH] [--only NAME]…

The model is the embedded one without an adapter, as Q4_0, and writes lists. This compares engines; `benchmarks.default`
measures the default student. DATA is a folder with `electronic` and `clothing` in the BundleRec layout; training
sessions are drawn from it at random. The others write JSON that follows a schema with the constraints of our format:
existing products, two or more in a bundle, a short intent, and a maximum number of bundles. Each line is printed when
it is measured.
"""

import argparse
import json
import random
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from platformdirs import user_cache_path

from benchmarks.measure import report, resident_memory_mb
from kdtui.bundling.prompt import session_messages
from kdtui.exchange.bundlerec import read_directory
from models.chat import ChatTokenizer
from models.llama.context import LlamaContext, TokenRun
from models.llama.fast_base import fast_embedded_student
from models.llama.model import LlamaModel
from models.llama.student import BATCH, DEFAULT_CONTEXT, Student
from models.llama.threads import processors
from models.messages import Message
from models.student_protocol import Answered, Form, Grew, SessionTask
from store.records import Item, Session


def high_level(student: Path, sessions: Sequence[Session]) -> None:
    """Seconds a session, against chat completions of llama-cpp-python."""
    ours = _seconds_of_student(student, sessions)
    llama = _high_level(student)
    _complete(llama, sessions[0])
    started = perf_counter()
    tokens = [_complete(llama, session)["usage"]["completion_tokens"] for session in sessions]
    other = perf_counter() - started
    report("seconds a session, against high level", ours / len(sessions), other / len(sessions), "s", "at most 0.33")
    print(f"  the other writes {sum(tokens) / len(tokens):.0f} tokens of JSON a session")


def server(student: Path, sessions: Sequence[Session]) -> None:
    """Seconds a session, against a llama-server in this process with its best number of slots."""
    import xllamacpp

    ours = _seconds_of_student(student, sessions)
    best = float("inf")
    for slots in (1, 2, 4, 8, 16):
        params = xllamacpp.CommonParams()
        params.model.path = str(student)
        params.n_parallel = slots
        params.n_ctx = DEFAULT_CONTEXT if slots < 8 else 2 * DEFAULT_CONTEXT
        params.kv_unified = True
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = processors()
        params.verbosity = -1
        running = xllamacpp.Server(params)

        def complete(session: Session, running: Any = running) -> None:
            answer = running.handle_chat_completions(
                {
                    "messages": [{"role": each.role, "content": each.content} for each in _json_prompt(session)],
                    "response_format": {"type": "json_schema", "json_schema": {"schema": _schema(session)}},
                    "temperature": 0,
                    "max_tokens": _most_tokens(session),
                }
            )
            assert answer["choices"][0]["message"]["content"], answer

        with ThreadPoolExecutor(slots) as pool:
            complete(sessions[0])
            started = perf_counter()
            list(pool.map(complete, sessions))
            seconds = perf_counter() - started
        print(f"  {slots:2} slots: {seconds / len(sessions):.3f} s a session", flush=True)
        best = min(best, seconds)
        del running
    report("seconds a session, against llama-server", ours / len(sessions), best / len(sessions), "s", "at most 0.67")


def limit(student: Path, sessions: Sequence[Session]) -> None:
    """Seconds a session, against the time that llama.cpp needs for the same number of tokens in ideal batches.

    The tokens are those of the sessions without speculative decoding, read in the fastest of several ways.
    """
    batches: list[list[TokenRun]] = []
    decode = LlamaContext.decode

    def recorded(self: LlamaContext, pieces: Sequence[TokenRun]) -> Any:
        batches.append(list(pieces))
        return decode(self, pieces)

    ours = _seconds_of_student(student, sessions)
    with Student(student) as loaded:
        loaded._tokens.most_guesses = 0
        LlamaContext.decode = recorded  # type: ignore[method-assign]
        _answer(loaded, sessions)
        LlamaContext.decode = decode  # type: ignore[method-assign]
        task = _task(sessions[0])
        shared = len(ChatTokenizer(loaded.model).prompt(task.make_prompt("list", task.in_order)).shared)
    tokens = sum(len(piece.tokens) for pieces in batches for piece in pieces)
    steps = sum(piece.wanted for pieces in batches for piece in pieces) // len(sessions)
    prompt = (tokens - shared) // len(sessions) - steps
    other = min(
        _ideal(student, at_once, shared=shared, prompt=prompt, steps=steps, flash=flash)
        for at_once, flash in ((1, False), (2, False), (4, False), (8, True), (16, True))
    )
    report("seconds a session, against ideal batches", ours / len(sessions), other, "s", "at most 1.25")
    print(f"  {shared} tokens shared; a session: {prompt} tokens of prompt, {steps} steps")


def _ideal(student: Path, at_once: int, *, shared: int, prompt: int, steps: int, flash: bool) -> float:
    """Return the seconds for a session of this size when `at_once` sessions decode in step, in full batches."""
    model = LlamaModel(student)
    context = LlamaContext(model, cells=DEFAULT_CONTEXT, batch=BATCH, threads=processors(), flash=flash)
    token = model.tokenize("a")[-1]
    for first in range(0, shared, BATCH):
        context.decode([TokenRun(0, first, [token] * min(BATCH, shared - first), wanted=0)])
    together = range(1, 1 + at_once)
    rounds = -(-32 // at_once)
    started = perf_counter()
    for _ in range(rounds):
        waiting: list[TokenRun] = []
        for sequence in together:
            context.copy(0, sequence, shared)
            waiting += [TokenRun(sequence, shared + at, [token], at == prompt - 1) for at in range(prompt)]
        for at in range(0, len(waiting), BATCH):
            context.decode(waiting[at : at + BATCH])
        for step in range(steps - 1):
            context.decode([TokenRun(sequence, shared + prompt + step, [token], wanted=1) for sequence in together])
        for sequence in together:
            context.remove(sequence)
    seconds = perf_counter() - started
    context.close()
    model.close()
    return seconds / (rounds * at_once)


def first_bundle(student: Path, chosen: Sequence[Session]) -> None:
    """Seconds until the first bundle of ten products is known, warm, against streamed chat completions."""
    items = cycle(item for session in chosen for item in session.items)
    warm, *sessions = [Session(str(number), tuple(islice(items, 10))) for number in range(6)]
    with Student(student) as loaded:
        _answer(loaded, [warm])
        ours = 0.0
        for session in sessions:
            started = perf_counter()
            next(event for event in loaded.answer([_task(session)]) if isinstance(event, Grew))
            ours += perf_counter() - started
    llama = _high_level(student)
    _complete(llama, warm)
    other = 0.0
    for session in sessions:
        started = perf_counter()
        text = ""
        for part in _complete(llama, session, stream=True):
            text += part["choices"][0]["delta"].get("content") or ""
            # The first list of products is complete.
            if "]" in text:
                break
        other += perf_counter() - started
    report("first bundle of ten products", ours / len(sessions), other / len(sessions), "s", "at most 0.5")


def knowledge(student: Path, sessions: Sequence[Session]) -> None:
    """Seconds a session with 640 tokens of knowledge in the prompt, against none."""
    with Student(student) as loaded:
        block = ""
        while len(loaded.model.tokenize(block)) < 640:
            block += f"Rule {len(block)}: products of one brand and one purpose are bundled. "
        times = {}
        for name, extra in (("warm", ""), ("without", ""), ("with", block)):
            started = perf_counter()
            asked = sessions[:8] if name == "warm" else sessions
            for _ in loaded.answer(_task(session, extra) for session in asked):
                pass
            times[name] = perf_counter() - started
    per = len(sessions)
    report("640 tokens of knowledge, against none", times["with"] / per, times["without"] / per, "s", "at most 1.3")


def busy(student: Path, sessions: Sequence[Session]) -> None:
    """Seconds a session on a machine with one busy program for each processor, against a single thread there."""
    programs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processors())]
    try:
        times = {}
        for name, threads in (("adapting", None), ("one", 1), ("all", processors())):
            with Student(student, threads=threads) as loaded:
                started = perf_counter()
                _answer(loaded, sessions[:24])
                times[name] = (perf_counter() - started) / len(sessions[:24])
    finally:
        for program in programs:
            program.kill()
            program.wait()
    report("a busy machine, against one thread", times["adapting"], times["one"], "s", "about 1")
    print(f"  with all {processors()} threads: {times['all']:.3f} s")


def memory(student: Path, _: Sequence[Session]) -> None:
    """Memory, against file and cache, and after 10,000 sessions against 1,000."""
    pair = [Session(str(number), (Item("a", f"Tent {number}"), Item("b", "Tent pegs"))) for number in range(10_000)]
    before = resident_memory_mb()
    with Student(student) as loaded:
        _answer(loaded, pair[:1_000])
        early = resident_memory_mb()
        _answer(loaded, pair[1_000:])
        late = resident_memory_mb()
        fair = student.stat().st_size / 1e6 + loaded.cache_bytes / 1e6
    report("memory, against file and cache", early - before, fair, "MB", "at most 1.2")
    report("memory after 10,000 sessions, against 1,000", late, early, "MB", "flat")


_BENCHMARKS: dict[str, Callable[[Path, Sequence[Session]], None]] = {
    function.__name__.replace("_", "-"): function
    for function in (high_level, server, limit, first_bundle, knowledge, busy, memory)
}


def _real_sessions(data: Path, count: int, seed: int) -> list[Session]:
    """Draw training sessions, the same number from both datasets."""
    sessions: list[Session] = []
    for name in ("electronic", "clothing"):
        train = [each for each in read_directory(data / name)[0] if each.split == "train" and len(each.items) > 1]
        sessions += random.Random(seed).sample(train, -(-count // 2))
    products = [len(session.items) for session in sessions]
    about = f"{min(products)} to {max(products)} products, {median(products):g} in the median"
    print(f"{len(sessions)} training sessions of {about}", flush=True)
    return sessions


def _task(session: Session, knowledge: str = "") -> SessionTask:
    def ask(form: Form, order: Sequence[int]) -> list[Message]:
        ordered = Session(session.id, tuple(session.items[position - 1] for position in order))
        instructions, question = session_messages(ordered, form=form)
        return [Message("system", instructions.content + knowledge), question]

    return SessionTask(session, len(session.items), ask)


def _answer(student: Student, sessions: Iterable[Session]) -> None:
    for event in student.answer(_task(session) for session in sessions):
        assert isinstance(event, Answered | Grew)


def _seconds_of_student(student: Path, sessions: Sequence[Session]) -> float:
    with Student(student) as loaded:
        _answer(loaded, sessions[:1])
        started = perf_counter()
        _answer(loaded, sessions)
        return perf_counter() - started


def _high_level(student: Path) -> Any:
    from llama_cpp import Llama

    return Llama(
        str(student), n_ctx=DEFAULT_CONTEXT, n_threads=processors(), n_threads_batch=processors(), verbose=False
    )


def _complete(llama: Any, session: Session, *, stream: bool = False) -> Any:
    return llama.create_chat_completion(
        [{"role": each.role, "content": each.content} for each in _json_prompt(session)],
        response_format={"type": "json_object", "schema": _schema(session)},
        temperature=0,
        max_tokens=_most_tokens(session),
        stream=stream,
    )


def _json_prompt(session: Session) -> list[Message]:
    return session_messages(session, form="json")


def _schema(session: Session) -> dict[str, Any]:
    count = len(session.items)
    bundle = {
        "type": "object",
        "properties": {
            "products": {
                "type": "array",
                "items": {"enum": list(range(1, count + 1))},
                "minItems": 2,
                "maxItems": count,
            },
            "intent": {"type": "string", "maxLength": 40},
        },
        "required": ["products", "intent"],
        "additionalProperties": False,
    }
    bundles = {"type": "array", "items": bundle, "minItems": 1, "maxItems": max(1, count // 2)}
    return {
        "type": "object",
        "properties": {"bundles": bundles},
        "required": ["bundles"],
        "additionalProperties": False,
    }


def _most_tokens(session: Session) -> int:
    """Return enough tokens for the longest answer that the schema allows."""
    return len(json.dumps([{"products": [10] * 10, "intent": "x" * 40}])) * max(1, len(session.items) // 2)


def main() -> None:
    """Run the benchmarks named by --only, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--sessions", type=int, default=48)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--student", type=Path, help="a GGUF file; by default the embedded student as Q4_0")
    parser.add_argument("--only", choices=list(_BENCHMARKS), action="append")
    given = parser.parse_args()
    sessions = _real_sessions(given.data, given.sessions, given.seed)
    student = given.student or fast_embedded_student(user_cache_path("kdtui") / "models")
    for name in given.only or _BENCHMARKS:
        print(f"{name}: {(_BENCHMARKS[name].__doc__ or '').splitlines()[0]}", flush=True)
        _BENCHMARKS[name](student, sessions)


if __name__ == "__main__":
    main()
