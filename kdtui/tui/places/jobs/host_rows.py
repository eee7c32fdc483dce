"""Hosts as rows, and in words: whether they answer, and what checks have found there."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.text import Text

from kdtui.text import ago, one_line
from kdtui.tui.widgets.rows import Column, Row

if TYPE_CHECKING:
    from kdtui.workflows.training.hosts import HostFinding
    from store.hosts import Host

COLUMNS = (
    Column("Host", 10, share=1),
    Column("SSH", 8, share=1),
    Column("By", 6),
    Column("State", 24, share=4),
    Column("Disk", 11),
    Column("GPUs", 9, share=2),
)

_FINDING_SIGNS = {"ok": "✓", "note": "–", "missing": "✗"}


@dataclass(slots=True)
class Health:
    """What is known of a host.

    Attributes:
        problem: why it did not answer.
        reached: whether it has answered since the program was started.
        findings: of its last check.
        next: when it may be asked again; 0 where it has not been asked.
    """

    disk: str = ""
    gpus: str = ""
    problem: str | None = None
    reached: bool = False
    findings: "list[HostFinding]" = field(default_factory=list)
    next: float = 0.0

    def note(self, finding: "HostFinding") -> None:
        """Note what a check has found."""
        from kdtui.workflows.training.hosts import in_brief

        self.findings.append(finding)
        match finding.name:
            case "reachable":
                self.reached = finding.state == "ok"
                self.problem = None if self.reached else finding.found
            case "disk":
                self.disk = in_brief(finding)
            case "gpus":
                self.gpus = in_brief(finding)

    def state(self, seen_at: Iterable[str]) -> str:
        """Whether it answers; where it has not been asked, when it did last.

        Args:
            seen_at: when trainings were seen there.
        """
        if self.problem is not None:
            return f"✗ {self.problem}"
        if self.reached:
            return "✓ reachable"
        last = max(seen_at, default="")
        return f"seen {ago(last)}" if last else "not asked yet"


def row_of(host: "Host", health: Health, state: str) -> Row:
    """A host as cells."""
    return Row(
        host.name,
        (
            host.name,
            host.ssh or "this machine",
            host.settings.launcher,
            Text(one_line(state, 300)),
            health.disk or "–",
            health.gpus or "–",
        ),
    )


def host_details(health: Health, state: str, key: str) -> Text:
    """What is known of a host, on many lines.

    Args:
        key: checks it.
    """
    text = Text()
    text.append(f"{one_line(state, 600)}\n")
    for finding in health.findings:
        text.append(f"\n{_FINDING_SIGNS[finding.state]} {finding.name}", style="bold")
        text.append(f"  {one_line(finding.found, 600)}\n")
        if finding.advice:
            text.append(f"  do: {one_line(finding.advice, 300)}\n")
    if not health.findings:
        text.append(f"\n{key} checks what it has for trainings, and what it lacks.\n")
    return text


def to_memory(healths: Mapping[str, Health]) -> dict[str, dict[str, str]]:
    """What is to be remembered of hosts: plain values."""
    return {name: {"disk": health.disk, "gpus": health.gpus} for name, health in healths.items()}


def from_memory(hosts: object) -> dict[str, Health]:
    """What was remembered of hosts; anyone may have edited it."""
    found = {}
    for name, known in hosts.items() if isinstance(hosts, dict) else ():
        if isinstance(known, dict):
            disk, gpus = known.get("disk"), known.get("gpus")
            found[str(name)] = Health(disk if isinstance(disk, str) else "", gpus if isinstance(gpus, str) else "")
    return found
