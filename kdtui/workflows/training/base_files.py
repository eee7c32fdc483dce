"""The base of a training that was taken over from a host, whose file there is another than here."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from kdtui.errors import KdtuiError
from kdtui.jobs.package import Tree
from models.embedded import embedded_student
from models.errors import ModelError
from models.files.json_files import read_object
from models.files.whole_files import write_whole
from models.sft.job_files import JOB
from store.jobs import StoredJob, list_jobs
from store.models import named_models
from store.sqlite import Database

_OF_A_HOST = re.compile(r"/blobs/(?P<key>[0-9a-f]{32})(?:/(?P<file>[^/]+))?")
"""How the place of a base ends on a host: under its hash, see `models.sft.host`."""


def find_base(db: Database, job: StoredJob, named: Path | None = None) -> None:
    """Have the job file name the base as it is here, where it is another file here, and its hash is the same.

    Args:
        named: where it is, for one that has no name here.

    Raises:
        KdtuiError: what is named is another model.
        ModelError: the job file cannot be read.
        OSError: a model cannot be read.
    """
    content = read_object(job.folder / JOB)
    base = str(content.get("base"))
    place = _OF_A_HOST.search(base)
    if place is None or place.end() != len(base) or Path(base).exists():
        return
    among = _known(db, is_file=place["file"] is not None) if named is None else iter([named])
    # Most have the name that they had.
    for path in sorted(dict.fromkeys(among), key=lambda each: each.name != place["file"]):
        if path.exists() and Tree.of(path, place["file"]).key == place["key"]:
            write_whole(job.folder / JOB, json.dumps(content | {"base": str(path)}, indent=2) + "\n")
            return
    if named is not None:
        raise KdtuiError(f"{named}: training {job.name!r} does not start from this; its base has another hash")


def check_base_is_here(job: StoredJob, workdir: str | None = None) -> None:
    """Refuse what cannot be done without the base.

    Args:
        workdir: of a host that may have it.

    Raises:
        KdtuiError: it is not here.
        ModelError: the job file cannot be read.
    """
    base = Path(str(read_object(job.folder / JOB).get("base")))
    # An id on a hub is fetched where it is needed.
    if not base.is_absolute() or base.exists() or (workdir is not None and base.is_relative_to(workdir)):
        return
    if base.suffix == ".gguf":
        raise KdtuiError(
            f"training {job.name!r} starts from {base.name}, and that is not here ({base}); give the same file a name "
            f"with: kdtui model add FILE, or name it with: kdtui sft resume {job.name} --base FILE"
        )
    raise KdtuiError(
        f"training {job.name!r} starts from a folder that is not here ({base}); name the same folder with: "
        f"kdtui sft resume {job.name} --base FOLDER"
    )


def _known(db: Database, *, is_file: bool) -> Iterator[Path]:
    """The models that have a name, and what other trainings start from."""
    if is_file:
        yield embedded_student()
        yield from (model.path for model in named_models(db) if model.kind == "base")
    for job in list_jobs(db):
        try:
            base = Path(str(read_object(job.folder / JOB).get("base")))
        except ModelError:
            # It was deleted by hand.
            continue
        if base.is_absolute() and base.is_file() == is_file:
            yield base
