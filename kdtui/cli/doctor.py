"""`kdtui doctor`: what is here, what is missing, and how to get it."""

from dataclasses import asdict

import typer

from kdtui.cli.options import DatabaseOption, JsonOption, database_path
from kdtui.cli.output import print_json, print_table


def doctor(as_json: JsonOption = False, db: DatabaseOption = None) -> None:
    """Check versions, database, models, CPU and GPU; exit code 1 when something needed is missing."""
    from kdtui.workflows.diagnose import diagnose

    findings = list(diagnose(database_path(db)))
    if as_json:
        for finding in findings:
            print_json(asdict(finding))
    else:
        print_table(
            ["", "what", "found"],
            [({"ok": "ok", "optional": "-", "missing": "MISSING"}[f.state], f.name, f.found) for f in findings],
            wide=["found"],
        )
    if any(finding.state == "missing" for finding in findings):
        raise typer.Exit(1)
