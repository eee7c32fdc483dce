"""Hosts as rows of a table and in words: whether they answer, and the findings of checks."""

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
class HostHealth:
    """What is known of a host.

    Attributes:
        problem: why it did not answer.
        reached: whether it has answered since the program started.
        findings: of the last check.
        next_question_at: when it can be asked again, by the monotonic clock; 0 if it was not asked yet.
    """

    disk: str = ""
    gpus: str = ""
    problem: str | None = None
    reached: bool = False
    findings: "list[HostFinding]" = field(default_factory=list)
    next_question_at: float = 0.0

    def note(self, finding: "HostFinding") -> None:
        """Note a finding of a check."""
        from kdtui.workflows.training.hosts import finding_in_brief

        self.findings.append(finding)
        match finding.name:
            case "reachable":
                self.reached = finding.state == "ok"
                self.problem = None if self.reached else finding.found
            case "disk":
                self.disk = finding_in_brief(finding)
            case "gpus":
                self.gpus = finding_in_brief(finding)

    def state(self, seen_at: Iterable[str]) -> str:
        """Return whether the host answers; if it was not asked yet, when it was last seen.

        Args:
            seen_at: when trainings were seen there.
        """
        if self.problem is not None:
            return f"✗ {self.problem}"
        if self.reached:
            return "✓ reachable"
        last = max(seen_at, default="")
        return f"seen {ago(last)}" if last else "not asked yet"


def host_row(host: "Host", health: HostHealth, state: str) -> Row:
    """Return the table row of a host."""
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


def host_details(health: HostHealth, state: str, key: str) -> Text:
    """Return what is known of a host, in lines.

    Args:
        key: the key that checks it.
    """
    text = Text()
    text.append(f"{one_line(state, 600)}\n")
    for finding in health.findings:
        text.append(f"\n{_FINDING_SIGNS[finding.state]} {finding.name}", style="bold")
        text.append(f"  {one_line(finding.found, 600)}\n")
        if finding.advice:
            text.append(f"  do: {one_line(finding.advice, 300)}\n")
    if not health.findings:
        text.append(f"\n{key} checks what it has and lacks for trainings.\n")
    return text


def to_memory(healths: Mapping[str, HostHealth]) -> dict[str, dict[str, str]]:
    """Return the facts about hosts to remember, as plain values."""
    return {name: {"disk": health.disk, "gpus": health.gpus} for name, health in healths.items()}


def from_memory(hosts: object) -> dict[str, HostHealth]:
    """Return the remembered facts about hosts; the user may have edited them."""
    healths = {}
    for name, facts in hosts.items() if isinstance(hosts, dict) else ():
        if isinstance(facts, dict):
            disk, gpus = facts.get("disk"), facts.get("gpus")
            disk, gpus = (each if isinstance(each, str) else "" for each in (disk, gpus))
            healths[str(name)] = HostHealth(disk, gpus)
    return healths
