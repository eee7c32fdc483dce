"""Work that another thread pauses, resumes and ends."""

import asyncio
import threading

from kdtui.workflows.pause_gate import PauseGate
from tests.support.waiting import PATIENCE


def test_held_work_waits_until_it_is_released() -> None:
    gate, passed = PauseGate(), threading.Event()
    gate.hold()
    assert gate.is_held

    def work() -> None:
        gate.wait()
        passed.set()

    thread = threading.Thread(target=work)
    thread.start()
    assert not passed.is_set()
    gate.release()
    thread.join(10)
    assert passed.is_set()
    assert not gate.is_held


def test_closing_releases_all_waiters_and_is_final() -> None:
    gate = PauseGate()
    gate.hold()
    gate.close()
    gate.close()
    gate.hold()
    gate.wait()
    assert gate.closed
    assert not gate.is_held


def test_a_task_that_is_cancelled_while_it_waits_leaves_the_others_waiting() -> None:
    async def work() -> list[str]:
        gate = PauseGate()
        gate.hold()
        one, other = asyncio.create_task(gate.passed()), asyncio.create_task(gate.passed())
        watching = asyncio.create_task(gate.close_seen())
        await asyncio.sleep(0)
        one.cancel()
        await asyncio.wait([one])
        threading.Thread(target=gate.close).start()
        await asyncio.wait_for(asyncio.gather(other, watching), PATIENCE)
        return [str(one.cancelled()), str(other.done())]

    assert asyncio.run(work()) == ["True", "True"]


def test_a_branch_follows_its_gate_and_closes_by_itself() -> None:
    gate = PauseGate()
    with gate.branch() as branch:
        gate.hold()
        assert branch.is_held
        gate.release()
        assert not branch.is_held
        branch.close()
        assert not gate.closed
    gate.hold()
    with gate.branch() as late:
        assert late.is_held
        gate.close()
        assert late.closed
    assert not branch.is_held
    with gate.branch() as behind:
        assert behind.closed
