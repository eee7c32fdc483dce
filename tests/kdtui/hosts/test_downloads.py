"""Downloads: complete or not at all, resumed after a failure, and never outside the folder."""

import io
import os
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from kdtui.errors import KdtuiError
from kdtui.hosts.batches import file_batches
from kdtui.hosts.client import HostClient
from kdtui.hosts.downloads import download, download_folder
from kdtui.workflows.training.on_host import fetch_from_host
from models.sft.job_files import LOG, METRICS
from models.sft.messages_as_json import Request
from models.sft.protocol import (
    FilesAnswer,
    StatusAnswer,
    StatusRequest,
    TrainingAnswer,
)
from models.sft.state import JobStatus
from store.hosts import Host, add_host
from store.jobs import add_job, get_job
from store.records import TrainingSettings
from store.sqlite import Database
from tests.support.reaching import asked


def test_downloaded_files_are_complete_and_not_downloaded_twice(host: Host, tmp_path: Path) -> None:
    job = Path(host.workdir) / "jobs" / "one" / "adapter"
    (job / "deep er").mkdir(parents=True)
    (job / "large").write_bytes(os.urandom(3_000_000))
    for number in range(40):
        (job / "deep er" / f"it's {number}").write_bytes(os.urandom(number))
    (job / "half.part").write_bytes(b"not yet")
    target = tmp_path / "home"
    # The remains of a killed client.
    (target / "coming" / "adapter").mkdir(parents=True)
    (target / "coming" / "adapter" / "large.part").write_bytes((job / "large").read_bytes()[:1_000_000])
    assert asked(host, lambda client: download(client, "one", "key", ["adapter"], target)) == 41
    for path in job.rglob("*"):
        if path.is_file() and path.suffix != ".part":
            assert (target / "adapter" / path.relative_to(job)).read_bytes() == path.read_bytes()
    assert not list(target.rglob("*.part"))
    assert asked(host, lambda client: download(client, "one", "key", ["adapter"], target)) == 0
    (target / "coming" / "adapter").mkdir(parents=True)
    (target / "coming" / "adapter" / "large.part").write_bytes(b"something else")
    (target / "adapter" / "large").unlink()
    assert asked(host, lambda client: download(client, "one", "key", ["adapter"], target)) == 1
    assert (target / "adapter" / "large").read_bytes() == (job / "large").read_bytes()


def test_a_checkpoint_is_moved_into_place_when_complete(host: Host, tmp_path: Path) -> None:
    checkpoint = Path(host.workdir) / "jobs" / "one" / "checkpoints" / "step-00000001"
    checkpoint.mkdir(parents=True)
    (checkpoint / "state.json").write_text("{}")
    (checkpoint / "optimizer.safetensors").write_bytes(os.urandom(3_000_000))
    home = tmp_path / "home"
    code = (
        "import asyncio, os, signal, sys\nfrom pathlib import Path\n"
        "from kdtui.hosts import client, downloads\n"
        "from store.hosts import Host\nfrom store.records import HostSettings\n"
        "whole = client.stream_command\n"
        "async def torn(*arguments, **more):\n"
        "    async for chunk in whole(*arguments, **more):\n"
        "        yield chunk\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "client.stream_command = torn\n"
        "async def main():\n"
        "    host = Host('far', 'gpu', sys.argv[1], HostSettings(python=sys.executable))\n"
        "    async with client.reach(host) as reached:\n"
        "        await downloads.download(reached, 'one', 'key', ['checkpoints'], Path(sys.argv[2]))\n"
        "asyncio.run(main())\n"
    )
    killed = subprocess.run([sys.executable, "-c", code, host.workdir, str(home)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert (home / "coming" / "checkpoints" / checkpoint.name / "state.json").exists()
    assert not (home / "checkpoints").exists()
    assert asked(host, lambda client: download(client, "one", "key", ["checkpoints"], home)) == 2
    # An incomplete checkpoint of an older version is completed too.
    (home / "checkpoints" / checkpoint.name / "optimizer.safetensors").unlink()
    assert asked(host, lambda client: download(client, "one", "key", ["checkpoints"], home)) == 1
    for path in checkpoint.iterdir():
        assert (home / "checkpoints" / checkpoint.name / path.name).read_bytes() == path.read_bytes()
    assert not (home / "coming").exists()


def test_two_processes_do_not_download_a_training_at_once(host: Host, tmp_path: Path) -> None:
    (Path(host.workdir) / "jobs" / "one" / "adapter").mkdir(parents=True)
    with (
        download_folder(tmp_path / "home"),
        pytest.raises(KdtuiError, match="another process is fetching this training"),
    ):
        asked(host, lambda client: download(client, "one", "key", ["adapter"], tmp_path / "home"))


def test_a_file_that_arrives_damaged_twice_is_not_kept(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter = Path(host.workdir) / "jobs" / "one" / "adapter"
    adapter.mkdir(parents=True)
    (adapter / "large").write_bytes(os.urandom(3_000_000))

    async def spoiled(*_: object, **__: object) -> AsyncIterator[bytes]:
        yield b"something else"

    monkeypatch.setattr("kdtui.hosts.client.stream_command", spoiled)
    with pytest.raises(KdtuiError, match="large arrived incomplete or damaged; try again"):
        asked(host, lambda client: download(client, "one", "key", ["adapter"], tmp_path / "home"))
    assert not list((tmp_path / "home").rglob("large*"))


def lying(monkeypatch: pytest.MonkeyPatch, *files: tuple[str, int, str | None]) -> None:
    """Let a host list these files, and say that all trainings are done."""

    async def lie(_: object, request: Request[Any], **__: object) -> Any:
        if isinstance(request, StatusRequest):
            done = TrainingAnswer(asdict(JobStatus("done")), None, 0, True)
            return StatusAnswer(dict.fromkeys(request.jobs, done))
        return FilesAnswer(files)

    monkeypatch.setattr(HostClient, "ask", lie)


def endless(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let a host send 100 MB for any file; return the sizes of the parts that it has sent."""
    sent: list[int] = []

    async def send(*_: object, **__: object) -> AsyncIterator[bytes]:
        yield b'{"ok": null, "protocol": 1}\n'
        while sum(sent) < 100_000_000:
            sent.append(1_000_000)
            yield bytes(1_000_000)

    monkeypatch.setattr("kdtui.hosts.client.stream_command", send)
    return sent


@pytest.mark.parametrize(
    "name",
    [
        "../../evil",
        "/etc/evil",
        "adapter/../../evil",
        "job.json",
        "adapters/x",
        "",
        ".",
        "adapter//x",
        "adapter/\0",
        "adapter/\ud800",
    ],
)
def test_a_host_can_name_only_files_that_were_asked_for(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    lying(monkeypatch, (name, 4, "0" * 64))
    with pytest.raises(KdtuiError, match="which was not asked for"):
        asked(host, lambda client: download(client, "one", "key", ["adapter"], tmp_path / "home"))
    assert {path.name for path in (tmp_path / "home").rglob("*")} == {"fetch.lock", "coming"}


def test_a_host_cannot_fill_the_disk(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lying(monkeypatch, ("adapter/large", 10**15, None))
    with pytest.raises(KdtuiError, match=r"its files take 1,000,000.0 GB, but only .* GB are free at .*; make room"):
        asked(host, lambda client: download(client, "one", "key", ["adapter"], tmp_path / "home"))


def test_a_host_cannot_list_files_without_end(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lying(monkeypatch, *((f"adapter/{number}", 0, None) for number in range(20_000)))
    with pytest.raises(KdtuiError, match="it lists 20,000 files, and no training has that many"):
        asked(host, lambda client: download(client, "one", "key", ["adapter"], tmp_path / "home"))


def test_small_files_arrive_in_batches_of_a_limited_number() -> None:
    batches = list(file_batches([((number,), 0) for number in range(2500)]))
    assert [len(batch) for batch in batches] == [1000, 1000, 500]


def test_parts_of_files_that_the_host_no_longer_lists_are_deleted(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    coming = tmp_path / "home" / "coming" / "adapter"
    coming.mkdir(parents=True)
    for name in ("large.part", "other.part", "small"):
        (coming / name).write_bytes(b"1234")
    # Of another download, which resumes.
    (coming.parent / "metrics.jsonl.part").write_bytes(b"1234")
    lying(monkeypatch, ("adapter/large", 10**15, None))
    with pytest.raises(KdtuiError, match="make room"):
        asked(host, lambda client: download(client, "one", "key", ["adapter"], tmp_path / "home"))
    assert [path.name for path in coming.iterdir()] == ["large.part"]
    assert (coming.parent / "metrics.jsonl.part").exists()


def test_a_host_that_sends_a_larger_file_than_it_lists_is_not_read_on(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter = Path(host.workdir) / "jobs" / "one" / "adapter"
    adapter.mkdir(parents=True)
    (adapter / "small").write_bytes(os.urandom(200_000))
    lying(monkeypatch, ("adapter/small", 10, "0" * 64))
    with pytest.raises(KdtuiError, match="it sends more than it was asked for"):
        asked(host, lambda client: download(client, "one", "key", ["adapter"], tmp_path / "home"))
    assert not list((tmp_path / "home").rglob("small*"))


def test_a_host_that_never_ends_a_file_is_not_read_on(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lying(monkeypatch, ("adapter/large", 3_000_000, None))
    sent = endless(monkeypatch)
    with pytest.raises(KdtuiError, match="large arrived incomplete or damaged"):
        asked(host, lambda client: download(client, "one", "key", ["adapter"], tmp_path / "home"))
    assert sum(sent) <= 5_000_000


@pytest.mark.parametrize("name", [LOG, METRICS])
@pytest.mark.parametrize(
    ("listed", "message"),
    [(3_000_000, "arrived incomplete or damaged"), (10**15, "its files take 1,000,000.0 GB, but only")],
)
def test_a_host_cannot_fill_the_disk_with_a_log(
    host: Host, db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, listed: int, message: str
) -> None:
    add_host(db, host)
    home = tmp_path / "home"
    add_job(db, "one", home, TrainingSettings(("outdoor",)), "key", host=host.name)
    lying(monkeypatch, (name, listed, None))
    sent = endless(monkeypatch)
    with pytest.raises(KdtuiError, match=message):
        fetch_from_host(db, get_job(db, "one"))
    assert sum(sent) <= 5_000_000
    assert sum(path.stat().st_size for path in home.rglob("*") if path.is_file()) <= 3_000_000


def test_a_log_that_grows_while_it_is_fetched_arrives_as_it_was_listed(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = Path(host.workdir) / "jobs" / "one"
    job.mkdir(parents=True)
    (job / LOG).write_text("one\n")
    whole = HostClient.stream_answer

    async def grown(client: HostClient, request: Any, **more: Any) -> AsyncIterator[bytes]:
        with (job / LOG).open("a") as log:
            log.write("two\n")
        async for chunk in whole(client, request, **more):
            yield chunk

    with monkeypatch.context() as patched:
        patched.setattr(HostClient, "stream_answer", grown)
        assert asked(host, lambda client: download(client, "one", "key", [LOG, METRICS], tmp_path / "home")) == 0
    assert (tmp_path / "home" / LOG).read_text() == "one\n"
    asked(host, lambda client: download(client, "one", "key", [LOG, METRICS], tmp_path / "home"))
    assert (tmp_path / "home" / LOG).read_text() == "one\ntwo\n"
    # It can be replaced by a shorter one.
    (job / LOG).write_text("new\n")
    asked(host, lambda client: download(client, "one", "key", [LOG, METRICS], tmp_path / "home"))
    assert (tmp_path / "home" / LOG).read_text() == "new\n"


def tar_of(kind: str) -> bytes:
    """Return a tar of a few kilobytes whose file `adapter/small` claims to be another kind of file, or larger."""
    out = io.BytesIO()
    if kind == "compressed":
        with tarfile.open(fileobj=out, mode="w:bz2") as archive:
            member = tarfile.TarInfo("adapter/small")
            member.size = 5_000_000
            archive.addfile(member, io.BytesIO(bytes(5_000_000)))
        return out.getvalue()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        member = tarfile.TarInfo("adapter/small")
        if kind == "sparse":
            member.pax_headers = {"GNU.sparse.size": "50000000", "GNU.sparse.numblocks": "0", "GNU.sparse.map": "0,0"}
        else:
            member.type, member.linkname = tarfile.SYMTYPE, "small"
        archive.addfile(member)
    return out.getvalue()


@pytest.mark.parametrize("kind", ["compressed", "sparse", "a link to itself"])
def test_a_small_file_of_a_host_is_no_larger_than_it_lists(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    async def output(*_: object, **__: object) -> bytes:
        return tar_of(kind)

    lying(monkeypatch, ("adapter/small", 10, "0" * 64))
    monkeypatch.setattr(HostClient, "output", output)
    with pytest.raises(KdtuiError, match="small arrived incomplete or damaged"):
        asked(host, lambda client: download(client, "one", "key", ["adapter"], tmp_path / "home"))
    assert not list((tmp_path / "home").rglob("small*"))


def test_what_arrived_before_needs_no_room(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    adapter = Path(host.workdir) / "jobs" / "one" / "adapter"
    adapter.mkdir(parents=True)
    (adapter / "large").write_bytes(os.urandom(3_000_000))
    coming = tmp_path / "home" / "coming" / "adapter"
    coming.mkdir(parents=True)
    (coming / "large.part").write_bytes((adapter / "large").read_bytes()[:2_000_000])
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(
        "kdtui.hosts.downloads.shutil.disk_usage", lambda _: usage._replace(total=100_000_000, free=2_500_000)
    )
    assert asked(host, lambda client: download(client, "one", "key", ["adapter"], tmp_path / "home")) == 1
