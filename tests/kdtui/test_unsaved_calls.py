"""Answers of a teacher are kept while another process is writing to the store, and after."""

import subprocess
from pathlib import Path

import pytest

from kdtui.workflows.import_dataset import import_dataset
from store.sqlite import Database
from tests.fake_chat_server import Fake, Serve
from tests.fake_teacher import good
from tests.locking import begun, said, writing


@pytest.fixture
def demo(db: Database, outdoor: Path) -> None:
    list(import_dataset(db, outdoor, "demo"))


@pytest.fixture
def taught(serve: Serve) -> tuple[str, type[Fake]]:
    return serve(good)


def distil(url: str, *options: object) -> "subprocess.Popen[str]":
    return begun("knowledge", "distill", "-f", "thought", "--limit", 4, "--teacher", f"{url}#m", *options)


@pytest.mark.usefixtures("demo")
def test_answers_that_are_paid_for_wait_until_they_can_be_stored(
    taught: tuple[str, type[Fake]], database_of_the_test: Path, db: Database
) -> None:
    url, fake = taught
    with writing(database_of_the_test) as end:
        process = distil(url)
        folder = Path(said(process, "answers that are paid for wait in").split(" wait in ")[1].split(" until ")[0])
        assert folder.parent == database_of_the_test.parent
        assert list(folder.glob("*.json"))
        end()
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert len(fake.asked) == 4
    assert db.execute("SELECT count(*), count(response) FROM calls").fetchone() == (4, 4)
    assert db.execute("SELECT count(*) FROM knowledge WHERE format = 'thought'").fetchone() == (4,)
    assert not folder.exists()


@pytest.mark.usefixtures("demo")
def test_answers_outlive_the_process_that_paid_for_them(
    taught: tuple[str, type[Fake]], database_of_the_test: Path, db: Database
) -> None:
    url, fake = taught
    with writing(database_of_the_test) as end:
        process = distil(url, "--concurrency", 1)
        said(process, "answers that are paid for wait in")
        process.kill()
        process.communicate(timeout=60)
        end()
    assert len(fake.asked) == 1
    assert db.execute("SELECT count(*) FROM calls").fetchone() == (0,)
    again = distil(url)
    _, err = again.communicate(timeout=60)
    assert again.returncode == 0, err
    # The first one is answered by the file, and not asked again.
    assert len(fake.asked) == 4
    assert db.execute("SELECT count(*), count(response) FROM calls").fetchone() == (4, 4)
    assert not database_of_the_test.with_name(f"{database_of_the_test.name}-unsaved-calls").exists()
