"""Commands on a host, over a real sshd: arguments, bytes and exit codes arrive unchanged, and output at once."""

import asyncio
import os
from contextlib import aclosing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdtui.hosts.ssh import SshTransport
from kdtui.hosts.transport import LocalTransport, run_command, stream_command
from models.sft.protocol import StatusRequest
from store.hosts import Host
from tests.support.reaching import asked, ran
from tests.support.sshd import Sshd


@settings(max_examples=25, deadline=None)
@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1), max_size=4))
def test_arguments_arrive_as_they_are(arguments: list[str]) -> None:
    done = asyncio.run(run_command(LocalTransport("here"), ["printf", "%s\\0", *arguments, "end"]))
    assert done.out.decode() == "".join(f"{each}\0" for each in [*arguments, "end"])


def test_arguments_arrive_through_ssh_too(host: Host) -> None:
    hostile = ["a b", "it's", '"', "$(reboot)", "`x`", "new\nline", "\\", "-n", "*", "ünïcode", "!", "~", "#"]
    done = asyncio.run(ran(host, "printf", "%s\\0", *hostile))
    assert done.out.decode() == "".join(f"{each}\0" for each in hostile)


@pytest.mark.parametrize("code", [0, 1, 7, 255])
def test_the_exit_code_of_a_command_is_its_own(host: Host, code: int) -> None:
    assert asyncio.run(ran(host, "sh", "-c", f"echo out; echo err >&2; exit {code}")) == asyncio.run(
        run_command(LocalTransport("here"), ["sh", "-c", f"echo out; echo err >&2; exit {code}"])
    )


def test_the_greeting_of_a_shell_is_not_taken_for_an_answer(server: Sshd, host: Host) -> None:
    server.stop()
    with (server.folder / "sshd_config").open("a") as file:
        file.write('ForceCommand sh -c \'echo "Welcome to the cluster"; eval "$SSH_ORIGINAL_COMMAND"; echo Bye\'\n')
    server.start()
    assert asyncio.run(ran(host, "echo", "hello")).out == b"hello\n"
    assert asked(host, lambda client: client.ask(StatusRequest(()))).trainings == {}


def test_sent_and_received_bytes_are_equal(host: Host) -> None:
    content = os.urandom(3_000_000)
    assert asyncio.run(ran(host, "cat", data=content)).out == content

    async def streamed() -> bytes:
        transport = SshTransport("far", "gpu")
        await transport.open()
        try:
            return b"".join([chunk async for chunk in stream_command(transport, ["printf", "a\\n\\nb\\n"])])
        finally:
            await transport.close()

    assert asyncio.run(streamed()) == b"a\n\nb\n"


@pytest.mark.parametrize("over_ssh", [False, True])
def test_output_arrives_before_the_program_ends(host: Host, over_ssh: bool) -> None:
    async def last_letters(transport: LocalTransport | SshTransport) -> None:
        async def send(letter: str) -> None:
            program = ["sh", "-c", 'printf %s "$1"; cat', "sh", letter]
            async with aclosing(stream_command(transport, program)) as chunks:
                assert await anext(chunks) == letter.encode()

        # The marks around the output are random.
        await asyncio.wait_for(asyncio.gather(*map(send, "0123456789abcdef")), 30)

    async def both() -> None:
        if not over_ssh:
            return await last_letters(LocalTransport("here"))
        transport = SshTransport(host.name, host.ssh or "")
        await transport.open()
        try:
            await last_letters(transport)
        finally:
            await transport.close()
        return None

    asyncio.run(both())
