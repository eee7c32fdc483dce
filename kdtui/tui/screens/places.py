"""The screen of each place, imported when it is gone to: the first paint needs one of them alone."""

from pathlib import Path

from kdtui.tui.screens.base import KdtuiScreen


def screen_of(place: str, database: Path) -> KdtuiScreen[None]:
    """A new screen for a place."""
    match place:
        case "knowledge":
            from kdtui.tui.screens.knowledge import KnowledgeScreen

            return KnowledgeScreen(database)
        case "workbench":
            from kdtui.tui.screens.workbench import WorkbenchScreen

            return WorkbenchScreen(database)
        case "distill":
            from kdtui.tui.screens.distill import DistillScreen

            return DistillScreen(database)
        case "samples":
            from kdtui.tui.screens.samples import SamplesScreen

            return SamplesScreen(database)
        case "jobs":
            from kdtui.tui.screens.jobs import JobsScreen

            return JobsScreen(database)
        case "runs":
            from kdtui.tui.screens.runs import RunsScreen

            return RunsScreen(database)
        case "models":
            from kdtui.tui.screens.models import ModelsScreen

            return ModelsScreen(database)
        case "studies":
            from kdtui.tui.screens.studies import StudiesScreen

            return StudiesScreen(database)
    raise AssertionError(place)
