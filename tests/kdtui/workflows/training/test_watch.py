"""A watched training on a host: a text is searched for in its log on the host."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kdtui.workflows.training.watch import LogRead, TextFound, Watch
from models.sft.job_files import EXIT_CODE, ID, JOB, LOG
from models.sft.log_search import Search
from store.database import open_database
from store.hosts import Host, add_host
from store.jobs import add_job
from store.records import TrainingSettings
from store.sqlite import Database


@pytest.mark.parametrize(
    ("search", "offset"),
    [
        (Search('it\'s "there"', 0), 80_000_001),
        (Search("IT'S", 0), None),
        (Search("first", 5, backwards=True), 0),
        (Search("", 0), None),
    ],
)
def test_a_text_is_searched_for_on_the_host(
    db: Database, database_of_the_test: Path, host: Host, search: Search, offset: int | None
) -> None:
    there = Path(host.workdir) / "jobs" / "long"
    there.mkdir(parents=True)
    for name, content in ((JOB, '{"base": "x"}'), (ID, "key"), (EXIT_CODE, "1"), (LOG, "first\n")):
        (there / name).write_text(content)
    with (there / LOG).open("r+b") as file:
        file.seek(80_000_000)
        file.write(b'\nit\'s "there"\n')
    add_host(db, host)
    add_job(db, "long", database_of_the_test.parent / "jobs" / "long", TrainingSettings(("few",)), "key", host="far")
    watch = Watch("long")

    def followed() -> TextFound:
        with open_database(database_of_the_test) as store:
            for event in watch.events(store):
                match event:
                    case LogRead():
                        watch.find(search)
                    case TextFound():
                        return event
        raise AssertionError("it was not answered")

    with ThreadPoolExecutor(1) as threads:
        assert threads.submit(followed).result(60) == TextFound(search, offset)
