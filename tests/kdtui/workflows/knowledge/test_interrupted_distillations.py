"""A distillation that is killed or interrupted: finished calls are kept, and none is paid for twice."""

import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from time import sleep

import pytest

from store.records import Session
from store.sqlite import Database
from tests.support.call_rows import calls
from tests.support.fake_chat_server import Fake, Serve
from tests.support.fake_teacher import good
from tests.support.waiting import PATIENCE

_VICTIM = """
import os, signal, sys, time
from itertools import pairwise
from pathlib import Path
import openai, llama_cpp
from kdtui.workflows.calls.costs import Budget, Prices
from kdtui.workflows.knowledge.distill_with_model import distill_with_model
from kdtui.workflows.knowledge.distillation_plan import DistillationPlan
from models.endpoint.chat_server import Endpoint
from models.endpoint.teacher import RequestLimits
from store.database import open_database

def distil():
    db = open_database(Path(os.environ["KDTUI_DB"]))
    limits = RequestLimits(8)
    plan = DistillationPlan("outdoor", ("rule", "thought"), Endpoint(sys.argv[1], "m"), limits, Prices(), Budget())
    for _ in distill_with_model(db, plan):
        pass

for moment in map(float, sys.argv[2:]):
    child = os.fork()
    if not child:
        distil()
        os._exit(0)
    time.sleep(moment)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
distil()
"""


def all_knowledge(db: Database) -> set[tuple[str, str, str]]:
    return {(row["format"], row["statement"], row["status"]) for row in db.query("SELECT * FROM knowledge")}


@pytest.mark.slow
def test_killed_at_any_moment_it_ends_with_the_same_knowledge_and_pays_once(
    db: Database, train: list[Session], serve: Serve
) -> None:
    charged: Counter[str] = Counter()
    lock = threading.Lock()

    def reply(fake: Fake, number: int) -> None:
        key = fake.headers["Idempotency-Key"]
        with lock:
            # As servers do that know such keys: the second request of a key is not charged.
            charged[key] = 1
        sleep(0.01)
        good(fake, number)

    url, fake = serve(reply)
    moments = [0.03 * (number % 7) + 0.01 * number for number in range(20)]
    subprocess.run([sys.executable, "-c", _VICTIM, url, *map(str, moments)], check=True, env=os.environ, timeout=600)
    rows = calls(db)
    assert len(charged) == len({row["key"] for row in rows}) == len(rows) == 4 * len(train)
    # Only the calls that ran at a kill are made again.
    assert len(fake.asked) <= len(rows) + 8 * len(moments)
    resumed = all_knowledge(db)
    with db.atomic():
        db.execute("DELETE FROM knowledge WHERE format <> 'pattern'")
        db.execute("DELETE FROM calls")
    subprocess.run([sys.executable, "-c", _VICTIM, url], check=True, env=os.environ, timeout=600)
    assert all_knowledge(db) == resumed


def test_an_interrupt_keeps_running_calls(db: Database, train: list[Session], serve: Serve) -> None:
    started, interrupted = threading.Event(), threading.Event()

    def slow(fake: Fake, number: int) -> None:
        if number >= 20:
            started.set()
            interrupted.wait(PATIENCE)
        good(fake, number)

    url, fake = serve(slow)
    command = [sys.executable, "-m", "kdtui", "knowledge", "distill", "--teacher", f"{url}#m", "--concurrency", "4"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert started.wait(PATIENCE)
    process.send_signal(signal.SIGINT)
    interrupted.set()
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, err
    assert "finished answers are kept" in err
    assert len(calls(db)) == len(fake.asked) < 4 * len(train)
    assert all(row["status"] == "answered" for row in calls(db))
