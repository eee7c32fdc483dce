"""Programs that some tests need and pip does not install. Without them the tests are skipped, except in CI."""

import os
import shutil
from typing import NoReturn

import pytest

from tests.support import slurm, sshd


def _unless_all_is_needed(reason: str | None) -> str | None:
    """Return None in CI, which installs everything: a test that lacks its program fails there."""
    return None if os.environ.get("KDTUI_TEST_ALL") else reason


def skip_unless_all_is_needed(reason: str) -> NoReturn:
    """Skip a test that cannot run on this system; in CI it fails."""
    if os.environ.get("KDTUI_TEST_ALL"):
        pytest.fail(reason)
    pytest.skip(reason)


def _skip(reason: str | None) -> pytest.MarkDecorator:
    return pytest.mark.skipif(reason is not None, reason=reason or "")


NO_SSHD = _unless_all_is_needed(None if sshd.SSHD else "there is no sshd; install openssh-server")
"""The reason to skip tests with an sshd; None to run them."""

needs_sshd = _skip(NO_SSHD)
needs_slurm = _skip(_unless_all_is_needed(slurm.missing()))
needs_tmux = _skip(_unless_all_is_needed(None if shutil.which("tmux") else "tmux is not installed"))
needs_shells = _skip(
    _unless_all_is_needed(None if all(map(shutil.which, ("fish", "tcsh", "zsh"))) else "install fish, tcsh and zsh")
)
