"""Uploads: complete or not at all, resumed after a failure, and never outside the folder."""

import asyncio
import fcntl
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from kdtui.errors import KdtuiError
from kdtui.hosts import package
from kdtui.hosts.client import HostClient, reach
from kdtui.hosts.uploads import upload
from models.files.hashing import file_sha256
from models.sft.messages_as_json import request_line
from models.sft.protocol import (
    InventoryRequest,
    LaunchRequest,
    ReceiveRequest,
    RemoveRequest,
    UnpackRequest,
)
from store.hosts import Host
from tests.support import sshd
from tests.support.needs import skip_unless_all_is_needed
from tests.support.reaching import asked
from tests.support.sshd import children
from tests.support.waiting import until


@pytest.mark.slow
def test_an_upload_resumes_where_a_killed_client_stopped(host: Host, server: sshd.Sshd, tmp_path: Path) -> None:
    path = tmp_path / "base.gguf"
    path.write_bytes(os.urandom(1 << 20) * 100)
    code = (
        "import asyncio, sys, json\nfrom pathlib import Path\n"
        "from kdtui.hosts.client import reach\nfrom kdtui.hosts.package import Tree\n"
        "from kdtui.hosts.uploads import upload\n"
        "from models.sft.protocol import InventoryRequest\n"
        "from store.hosts import Host\nfrom store.records import HostSettings\n"
        "async def main():\n"
        "    tree = Tree.of(Path(sys.argv[1]))\n"
        "    async with reach(Host('far', 'gpu', sys.argv[2], HostSettings(python=sys.executable))) as client:\n"
        "        files = tuple((each.name, each.size) for each in tree.files)\n"
        "        inventory = await client.ask(InventoryRequest('x', tree.key, files))\n"
        "        print(json.dumps(inventory.files), flush=True)\n"
        "        await upload(client, tree, inventory.files)\n"
        "asyncio.run(main())\n"
    )
    command = [sys.executable, "-c", code, str(path), host.workdir]
    first = subprocess.Popen(command, stdout=subprocess.PIPE)
    part = Path(host.workdir) / "blobs" / package.Tree.of(path).key / "base.gguf.part"
    until(lambda: part.exists() and part.stat().st_size > 1 << 20)
    first.kill()
    first.communicate()
    assert not part.with_name("base.gguf").exists()
    assert server.process is not None
    pid = server.process.pid
    until(lambda: not children(pid))
    second = subprocess.run(command, capture_output=True, text=True, check=True)
    assert 0 < json.loads(second.stdout)["base.gguf"] < path.stat().st_size
    assert file_sha256(part.with_name("base.gguf")) == file_sha256(path)
    third = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(third.stdout)["base.gguf"] == "whole"


def test_a_client_with_a_frozen_network_does_not_block_others(host: Host, tmp_path: Path) -> None:
    path = tmp_path / "base.gguf"
    path.write_bytes(os.urandom(4_000_000))
    tree = package.Tree.of(path)
    part = Path(host.workdir) / "blobs" / tree.key / "base.gguf.part"

    async def half() -> AsyncIterator[bytes]:
        yield path.read_bytes()[:2_000_000]
        await asyncio.Event().wait()

    async def retry(client: HostClient) -> None:
        for _ in range(1500):
            try:
                return await upload(client, tree, {"base.gguf": part.stat().st_size})
            except KdtuiError:
                await asyncio.sleep(0.1)
        raise AssertionError("it is locked for ever")

    async def freeze_and_retry() -> None:
        async with reach(host) as frozen:
            await frozen.send_code()
            [master] = [each for each in psutil.Process().children() if each.name() == "ssh"]
            name = str(part.with_suffix(""))
            request = ReceiveRequest(str(part), 0, name, 4_000_000, tree.files[0].sha256)
            sending = asyncio.create_task(frozen.ask(request, half(), silence=1))
            while not part.exists() or not part.stat().st_size:
                await asyncio.sleep(0.02)
            master.suspend()
            try:
                async with reach(host) as client:
                    await retry(client)
            finally:
                master.kill()
                sending.cancel()
                await asyncio.wait([sending])

    asyncio.run(freeze_and_retry())
    assert part.with_name("base.gguf").read_bytes() == path.read_bytes()


def test_a_stalled_upload_of_a_training_is_given_up(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "models.sft.host"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    request = LaunchRequest("half", "key", "direct", sys.executable, "", 1, None, None, True)
    process.stdin.write(request_line(request, str(tmp_path), silence=0.2).decode())
    process.stdin.flush()
    assert "the client has sent nothing for 0.2 seconds" in json.loads(process.stdout.readline())["error"]
    process.communicate()
    assert not list((tmp_path / "jobs").glob(".*.part"))


def test_removing_a_training_deletes_what_a_killed_client_left(host: Host) -> None:
    jobs = Path(host.workdir) / "jobs"
    (jobs / ".one.key.part").mkdir(parents=True)
    (jobs / ".one.key.lock").touch()
    asked(host, lambda client: client.ask(RemoveRequest("one", "key")))
    assert not list(jobs.iterdir())


def test_a_training_that_another_client_uploads_is_not_removed(host: Host) -> None:
    part = Path(host.workdir) / "jobs" / ".one.key.part"
    part.mkdir(parents=True)
    with part.with_suffix(".lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(KdtuiError, match="another client is uploading this; try again in a minute"):
            asked(host, lambda client: client.ask(RemoveRequest("one", "key")))
    assert part.exists()
    asked(host, lambda client: client.ask(RemoveRequest("one", "key")))
    assert not list(part.parent.iterdir())


def test_a_damaged_upload_is_deleted(host: Host, tmp_path: Path) -> None:
    path = tmp_path / "base.gguf"
    path.write_bytes(b"right" * 1000)
    tree = package.Tree.of(path)
    part = Path(host.workdir) / "blobs" / tree.key / "base.gguf.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"wrong")
    asked(host, lambda client: client.send_code())
    with pytest.raises(KdtuiError, match="arrived damaged and was deleted; try again"):
        asked(host, lambda client: upload(client, tree, {"base.gguf": 5}))
    asked(host, lambda client: upload(client, tree, {"base.gguf": 0}))
    assert part.with_name("base.gguf").read_bytes() == path.read_bytes()


def test_small_files_are_uploaded_together_and_only_missing_ones(host: Host, server: sshd.Sshd, tmp_path: Path) -> None:
    folder = tmp_path / "wheels"
    folder.mkdir()
    for number in range(200):
        (folder / f"it's {number}").write_bytes(os.urandom(number))
    (folder / "large").write_bytes(os.urandom(2_000_000))
    tree = package.Tree.of(folder)
    files = tuple((each.name, each.size) for each in tree.files)

    async def bring(client: HostClient) -> dict[str, int | str]:
        received = (await client.ask(InventoryRequest("x", tree.key, files))).files
        await upload(client, tree, received)
        return received

    asked(host, lambda client: client.send_code())
    before = server.commands
    assert set(asked(host, bring).values()) == {0}
    # One inventory, one upload of all small files, and one of the large file.
    assert server.commands - before == 3
    there = Path(host.workdir) / "blobs" / tree.key
    assert {path.name: file_sha256(path) for path in there.iterdir()} == {each.name: each.sha256 for each in tree.files}
    assert [path.name for path in there.parent.iterdir()] == [tree.key]
    (there / "it's 7").unlink()
    known = asked(host, bring)
    assert [name for name, state in known.items() if state != "whole"] == ["it's 7"]
    assert file_sha256(there / "it's 7") == file_sha256(folder / "it's 7")


def test_damaged_or_incomplete_small_files_are_refused(host: Host, tmp_path: Path) -> None:
    folder = tmp_path / "base"
    folder.mkdir()
    for name in ("one", "two"):
        (folder / name).write_text(name * 5000)
    tree = package.Tree.of(folder)
    (folder / "two").write_text("changed meanwhile")
    asked(host, lambda client: client.send_code())
    with pytest.raises(KdtuiError, match="'two' arrived damaged and was deleted; try again"):
        asked(host, lambda client: upload(client, tree, {"one": 0, "two": 0}))

    async def half(client: HostClient) -> Any:
        with package.packed(folder, ["one", "two"], {}) as file:
            first = file.read(6000)

        async def cut() -> AsyncIterator[bytes]:
            yield first

        return await client.ask(UnpackRequest(client.blob(tree), {"one": "", "two": ""}), cut())

    with pytest.raises(KdtuiError, match="arrived damaged or incomplete"):
        asked(host, half)
    there = Path(host.workdir) / "blobs"
    assert [path.name for path in there.iterdir()] == [tree.key]
    assert [path.name for path in (there / tree.key).iterdir()] == ["one"]


def test_a_full_disk_says_to_make_room(host: Host, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(small)], check=False)
    if mounted.returncode:
        skip_unless_all_is_needed("a small disk cannot be mounted here")
    try:
        path = tmp_path / "base.gguf"
        path.write_bytes(b"x" * 5_000_000)
        tree = package.Tree.of(path)
        full = Host("far", "gpu", str(small / "w"), host.settings)
        asked(full, lambda client: client.send_code())
        with pytest.raises(KdtuiError, match="No space left on device; make room below"):
            asked(full, lambda client: upload(client, tree, {"base.gguf": 0}))
    finally:
        subprocess.run(["umount", str(small)], check=True)
