"""Calibrations that do not exist, and options in the wrong place."""

from tests.inputs.case import DEMO, Case

CASES = [
    Case(
        "a calibration to show does not exist",
        ("calibrate", "show", "9"),
        "there is no calibration 9; kdtui calibrate ls",
    ),
    Case("a calibration to delete does not exist", ("calibrate", "rm", "9", "--yes"), "there is no calibration 9"),
    Case(
        "calibrations of an unknown dataset are listed",
        ("calibrate", "ls", "-d", "x"),
        "there is no dataset 'x'",
        before=(DEMO,),
    ),
    Case(
        "an option stands before the command that it belongs to",
        ("calibrate", "--dataset", "demo", "ls"),
        "put the options of ls after its name",
        code=2,
    ),
    Case(
        "there are too few sessions to calibrate on",
        ("calibrate", "--dataset", "demo", "--limit", "3"),
        "dataset 'demo' has 4 validation sessions to calibrate on; 20 are needed",
        before=(DEMO,),
    ),
]
