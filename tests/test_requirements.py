"""The files that pin versions agree with each other and with what the project says it needs."""

import re
import tomllib

from tests.support.repository import ROOT

PIN = re.compile(r"^([A-Za-z0-9_.-]+)==([^\s;\\]+)", re.MULTILINE)


def pins(file: str) -> dict[str, str]:
    """Return the versions in a file by the names of packages, in which - and _ are the same."""
    found = PIN.findall((ROOT / file).read_text(encoding="utf-8"))
    return {name.lower().replace("_", "-"): version for name, version in found}


def test_the_lock_has_the_versions_of_the_constraints() -> None:
    locked, constraints = pins("requirements.lock"), pins("constraints.txt")
    assert {
        name: locked[name] for name in locked.keys() & constraints.keys() if locked[name] != constraints[name]
    } == {}


def test_the_lock_has_all_that_the_program_needs_with_hashes() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = {re.split(r"[^A-Za-z0-9_.-]", each)[0].lower().replace("_", "-") for each in project["dependencies"]}
    assert needed <= pins("requirements.lock").keys()
    parts = re.split(r"^(?=\S)", (ROOT / "requirements.lock").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert all("--hash=sha256:" in part for part in parts if PIN.match(part))


def test_the_constraints_have_all_that_developers_need() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [each for extra in project["optional-dependencies"].values() for each in extra]
    needed = {re.split(r"[^A-Za-z0-9_.-]", each)[0].lower().replace("_", "-") for each in extras}
    assert needed <= pins("constraints.txt").keys()
