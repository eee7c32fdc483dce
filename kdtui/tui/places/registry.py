"""The screen of each place. It is imported when the user opens the place: the first paint needs only one."""

from pathlib import Path

from kdtui.tui.core.screen import StoreScreen


def screen_of(place: str, database: Path) -> StoreScreen[None]:
    """Return a new screen for a place."""
    match place:
        case "knowledge":
            from kdtui.tui.places.knowledge.screen import KnowledgeScreen

            return KnowledgeScreen(database)
        case "workbench":
            from kdtui.tui.places.workbench.screen import WorkbenchScreen

            return WorkbenchScreen(database)
        case "distill":
            from kdtui.tui.places.distill.screen import DistillScreen

            return DistillScreen(database)
        case "samples":
            from kdtui.tui.places.samples.screen import SamplesScreen

            return SamplesScreen(database)
        case "jobs":
            from kdtui.tui.places.jobs.screen import JobsScreen

            return JobsScreen(database)
        case "runs":
            from kdtui.tui.places.runs.screen import RunsScreen

            return RunsScreen(database)
        case "models":
            from kdtui.tui.places.models.screen import ModelsScreen

            return ModelsScreen(database)
        case "studies":
            from kdtui.tui.places.studies.screen import StudiesScreen

            return StudiesScreen(database)
    raise AssertionError(place)
