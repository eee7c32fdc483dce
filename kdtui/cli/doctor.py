"""`kdtui doctor`: check the installation, and say how to get what is missing."""

from dataclasses import asdict

import typer

from kdtui.cli.options import DatabaseOption, JsonOption, OutputOption, chosen_output, database_path
from kdtui.cli.output import print_table


def doctor(output: OutputOption = None, as_json: JsonOption = False, database: DatabaseOption = None) -> None:
    """Check versions, database, models, CPU and GPU. The exit code is 1 if something necessary is missing."""
    from kdtui.workflows.diagnose import diagnose

    printed_as = chosen_output(output, as_json)
    findings = list(diagnose(database_path(database)))
    print_table(
        ["" if printed_as == "table" else "state", "what", "found"],
        [({"ok": "ok", "optional": "-", "missing": "MISSING"}[f.state], f.name, f.found) for f in findings],
        wide=["found"],
        output=printed_as,
        records=map(asdict, findings),
    )
    if any(finding.state == "missing" for finding in findings):
        raise typer.Exit(1)
