"""The package that a host gets: small, reproducible, and used instead of an installed one."""

import sys
from pathlib import Path

from kdtui.hosts import package
from models.sft.protocol import StatusRequest
from store.hosts import Host
from store.records import HostSettings
from tests.support.reaching import asked


def test_the_sent_package_is_small_and_reproducible() -> None:
    first = package.code()
    package.code.cache_clear()
    assert package.code() == first
    assert len(first.content) < 1_000_000


def test_an_installed_package_of_another_version_is_not_used(host: Host, tmp_path: Path) -> None:
    other = tmp_path / "other" / "models" / "sft"
    other.mkdir(parents=True)
    for folder in (other, other.parent):
        (folder / "__init__.py").touch()
    (other / "host.py").write_text('print(\'{"ok": "another version"}\')')
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH="$PYTHONPATH:{tmp_path}/other" exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    with_other = Host("far", "gpu", host.workdir, HostSettings(python=str(python)))
    assert asked(with_other, lambda client: client.ask(StatusRequest(()))).trainings == {}
