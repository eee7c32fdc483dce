"""Calls to a teacher that answers at once: calls a second, and memory.

    python -m benchmarks.teacher [--calls 10000] [--concurrency 64]

The teacher is a server in its own process on the same machine.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

from benchmarks.measure import report, resident_memory_mb
from store.database import open_database
from store.dataset_writer import write_dataset
from store.records import Bundle, Item, Session

_THOUGHT = {
    "products": ["a shelter", "what holds it"],
    "bundles": [{"intent": "night outside", "products": [1, 2], "why": "they serve one night"}],
    "left_out": "",
}


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    completion = {
        "id": "1",
        "object": "chat.completion",
        "created": 0,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": json.dumps(_THOUGHT)},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 300, "completion_tokens": 40, "total_tokens": 340},
    }
    body = json.dumps(completion).encode()
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length.partition(b":")[2]))
            writer.write(answer)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def _serve() -> None:
    server = await asyncio.start_server(_answer, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def _sessions(count: int) -> Iterator[Session]:
    for number in range(count):
        items = tuple(
            Item(f"{number}-{at}", f"Product {number} of kind {at}", (("Shop", "A", "B"),)) for at in range(4)
        )
        yield Session(str(number), items, (Bundle((1, 2), "night outside"),), "train")


def main() -> None:
    """Run the benchmark, or the teacher with --serve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        asyncio.run(_serve())
        return
    command = [sys.executable, "-m", "benchmarks.teacher", "--serve"]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server,
        tempfile.TemporaryDirectory() as folder,
    ):
        try:
            assert server.stdout is not None
            _measure(int(server.stdout.readline()), Path(folder), arguments.calls, arguments.concurrency)
        finally:
            server.kill()


def _measure(port: int, folder: Path, count: int, concurrency: int) -> None:
    from kdtui.workflows.calls.costs import Budget, Prices
    from kdtui.workflows.knowledge.distill_with_model import distill_with_model
    from kdtui.workflows.knowledge.distillation_plan import DistillationPlan
    from models.endpoint.chat_server import Endpoint
    from models.endpoint.teacher import RequestLimits

    db = open_database(folder / "calls.db")
    list(write_dataset(db, "many", "made up", _sessions(count)))
    endpoint = Endpoint(f"http://127.0.0.1:{port}/v1", "m")
    plan = DistillationPlan("many", ("thought",), endpoint, RequestLimits(concurrency), Prices(), Budget())
    started = perf_counter()
    for _ in distill_with_model(db, plan):
        pass
    seconds = perf_counter() - started
    kept = db.execute("SELECT count(*) FROM calls WHERE status = 'answered' AND attempts = 1").fetchone()[0]
    assert kept == count, f"{count - kept} calls were lost or made twice"
    report("calls a second, against the goal", count / seconds, 300, "", "at least 1")
    report("memory of the process, against the goal", resident_memory_mb(), 300, "MB", "at most 1")


if __name__ == "__main__":
    main()
