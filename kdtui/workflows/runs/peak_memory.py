"""The most memory that this process has held since a moment, where the system tells it."""

import sys
from pathlib import Path

_SELF = Path("/proc/self")


class PeakMemory:
    """Knows the peak from its beginning on; weights that are in memory then are a part of it."""

    def __init__(self) -> None:
        self._is_anew = _begin_anew()
        self._before = _peak_bytes()

    def read(self) -> int | None:
        """Bytes; None where the system does not tell, or the peak may have been before."""
        peak = _peak_bytes()
        if peak is None or self._before is None:
            return None
        return peak if self._is_anew or peak > self._before else None


def _begin_anew() -> bool:
    """Have Linux forget the peak so far; whether that was done."""
    try:
        (_SELF / "clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def _peak_bytes() -> int | None:
    """The peak that the system knows."""
    try:
        for line in (_SELF / "status").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Bytes on macOS, and kilobytes elsewhere.
    return peak if sys.platform == "darwin" else peak * 1024
