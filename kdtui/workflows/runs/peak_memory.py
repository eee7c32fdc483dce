"""The peak memory of this process since a moment, if the system reports it."""

import sys
from pathlib import Path

_SELF = Path("/proc/self")


class PeakMemory:
    """Measures the peak from its creation on, including weights that are in memory then."""

    def __init__(self) -> None:
        self._is_anew = _begin_anew()
        self._before = _peak_bytes()

    def read(self) -> int | None:
        """Return bytes; None if the system does not report them, or the peak may have been earlier."""
        peak = _peak_bytes()
        if peak is None or self._before is None:
            return None
        return peak if self._is_anew or peak > self._before else None


def _begin_anew() -> bool:
    """Reset the peak on Linux, and return whether that worked."""
    try:
        (_SELF / "clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def _peak_bytes() -> int | None:
    """Return the peak that the system reports."""
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
    # Bytes on macOS, kilobytes on other systems.
    return peak if sys.platform == "darwin" else peak * 1024
