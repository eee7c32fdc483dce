"""Bases and wheels go to a host: small files in tars, large files resumed where an earlier attempt stopped."""

from collections.abc import Mapping
from pathlib import PurePosixPath

from kdtui.hosts import package
from kdtui.hosts.batches import SMALL, file_batches
from kdtui.hosts.client import READ_TIMEOUT, HostClient
from models.sft.protocol import ReceiveRequest, UnpackRequest


async def upload(client: HostClient, tree: package.Tree, received: Mapping[str, int | str]) -> None:
    """Upload the files of a tree that the host does not have completely.

    Args:
        received: by file, what `models.sft.protocol.InventoryAnswer` says.

    Raises:
        TransportError: the connection was lost; partial data is kept, and a retry resumes.
        KdtuiError: the host has no room, or a file arrived damaged.
    """
    small = [(each, each.size) for each in tree.files if not received[each.name] and each.size <= SMALL]
    for batch in file_batches(small):
        names = [each.name for each in batch]
        with package.packed(batch[0].path.parent, names, {}) as file:
            expected = {each.name: each.sha256 for each in batch}
            await client.ask(UnpackRequest(client.blob(tree), expected), package.chunks(file))
    packed = {each.name for each, _ in small}
    for each in tree.files:
        if received[each.name] == "whole" or each.name in packed:
            continue
        target = str(PurePosixPath(client.blob(tree)) / each.name)
        size = received[each.name]
        offset = size if isinstance(size, int) and size <= each.size else 0
        with each.path.open("rb") as file:
            file.seek(offset)
            await client.ask(
                ReceiveRequest(f"{target}.part", offset, target, each.size, each.sha256),
                package.chunks(file),
                timeout=READ_TIMEOUT,
            )
