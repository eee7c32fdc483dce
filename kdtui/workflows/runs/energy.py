"""The energy that this machine uses, if it can be read: of processors by RAPL, of NVIDIA GPUs by nvidia-smi.

Both count everything that runs on the machine. On many systems only root can read RAPL. Then the energy of the
processors is unknown.
"""

import subprocess
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from shutil import which
from threading import Lock, Thread
from time import monotonic
from types import TracebackType

POWERCAP = Path("/sys/class/powercap")
"""Where Linux reports the energy of processors."""

_SAMPLE_MS = 500
"""Milliseconds between two samples of the power of GPUs."""


class EnergyMeter(AbstractContextManager["EnergyMeter"]):
    """Adds up energy from its creation on."""

    def __init__(self) -> None:
        self._processors = _Rapl.found()
        self._gpus = _NvidiaSmi.started()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop reading."""
        if self._gpus is not None:
            self._gpus.close()

    def read(self) -> tuple[float | None, str | None]:
        """Return the joules so far, and the meters; None if there is none. Read the counters every few minutes."""
        readings = {
            "rapl": None if self._processors is None else self._processors.read(),
            "nvidia-smi": None if self._gpus is None else self._gpus.read(),
        }
        known = {name: joules for name, joules in readings.items() if joules is not None}
        return (sum(known.values()), "+".join(known)) if known else (None, None)


class _Rapl:
    """The counters of the processor packages and of their memory."""

    def __init__(self, zones: list[Path]) -> None:
        self._last = {zone: _number(zone / "energy_uj") for zone in zones}
        self._joules = 0.0
        self._failed = False

    @classmethod
    def found(cls) -> "_Rapl | None":
        """Return None if there is no counter, or one cannot be read: a part must not be taken for the whole."""
        # A package includes its cores, and the whole board (psys) includes the packages.
        zones = [zone for zone in POWERCAP.glob("intel-rapl:*") if _name(zone).startswith(("package", "dram"))]
        try:
            return cls(zones) if zones else None
        except (OSError, ValueError):
            return None

    def read(self) -> float | None:
        try:
            for zone, before in self._last.items():
                now = _number(zone / "energy_uj")
                # A counter wraps around at its end.
                round_trip = _number(zone / "max_energy_range_uj") if now < before else 0
                self._joules += (now - before + round_trip) / 1e6
                self._last[zone] = now
        except (OSError, ValueError):
            self._failed = True
        return None if self._failed else self._joules


class _NvidiaSmi:
    """The power of all GPUs, sampled repeatedly and multiplied by the seconds between samples."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self._lock = Lock()
        self._joules: float | None = None
        self._power: dict[str, tuple[float, float]] = {}
        self._is_unreadable = False
        self._thread = Thread(target=self._follow, name="nvidia-smi", daemon=True)
        self._thread.start()

    @classmethod
    def started(cls) -> "_NvidiaSmi | None":
        """Return None if there is no such program."""
        program = which("nvidia-smi")
        if program is None:
            return None
        query = ["--query-gpu=index,power.draw", "--format=csv,noheader,nounits", f"--loop-ms={_SAMPLE_MS}"]
        with suppress(OSError):
            return cls(
                subprocess.Popen(
                    [program, *query],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    text=True,
                    errors="replace",
                    # An interrupt from the terminal is for the evaluation, not for the meter.
                    start_new_session=True,
                )
            )
        return None

    def read(self) -> float | None:
        with self._lock:
            return None if self._is_unreadable else self._joules

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._thread.join()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _follow(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            index, _, power = line.partition(",")
            try:
                self._add(index.strip(), float(power), monotonic())
            except ValueError:
                # The GPU has no such meter, or the line is an error message.
                with self._lock:
                    self._is_unreadable = True
                return

    def _add(self, gpu: str, power: float, now: float) -> None:
        with self._lock:
            if gpu in self._power:
                before, since = self._power[gpu]
                self._joules = (self._joules or 0.0) + (before + power) / 2 * (now - since)
            self._power[gpu] = power, now


def _name(zone: Path) -> str:
    try:
        return (zone / "name").read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _number(path: Path) -> int:
    return int(path.read_text(encoding="ascii"))
