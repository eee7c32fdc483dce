"""Find the base of an adopted training on this machine, where it has another path than on the host."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from kdtui.errors import KdtuiError
from kdtui.hosts.package import Tree
from kdtui.workflows.manage_models import is_repository
from models.embedded import embedded_student
from models.errors import ModelError
from models.files.json_files import read_object
from models.files.whole_files import write_whole
from models.sft.job_files import JOB
from store.jobs import StoredJob, list_jobs
from store.models import named_models
from store.sqlite import Database

_OF_A_HOST = re.compile(r"/blobs/(?P<key>[0-9a-f]{32})(?:/(?P<file>[^/]+))?")
"""The end of the path of a base on a host: below its hash, see `models.sft.host`."""

_CONFIG = "config.json"
_LONGEST = 4096
"""Characters of a path at most."""


def find_base(db: Database, job: StoredJob, named: Path | None = None) -> None:
    """Write the local path of the base into the job file, if a local model has the same hash.

    Nothing changes if the base exists under the path that the job file names.

    Args:
        named: the path of the base, if it has no name in this store.

    Raises:
        KdtuiError: `named` is another model.
        ModelError: the job file cannot be read.
        OSError: a model cannot be read.
    """
    content = read_object(job.folder / JOB)
    base = str(content.get("base"))
    blob = _OF_A_HOST.search(base)
    if blob is None or not _is_blob(base) or Path(base).exists():
        return
    candidates = _known(db, is_file=blob["file"] is not None) if named is None else iter([named])
    # Try files with the same name first: most keep their name.
    for path in sorted(dict.fromkeys(candidates), key=lambda each: each.name != blob["file"]):
        if path.exists() and Tree.of(path, blob["file"]).key == blob["key"]:
            write_whole(job.folder / JOB, json.dumps(content | {"base": str(path)}, indent=2) + "\n")
            return
    if named is not None:
        raise KdtuiError(f"{named}: training {job.name!r} does not begin from this; the hash of its base differs")


def check_named_base(base: object, where: str) -> None:
    """Refuse the base of a training that a host describes, unless it is a hub model or a path on that host.

    A launch uploads the base of a training from its path on this machine, so a host could ask for any file.

    Args:
        base: as the host names it.
        where: the training and its host, for the message.

    Raises:
        KdtuiError: it is neither.
    """
    if isinstance(base, str) and base.isprintable() and len(base) <= _LONGEST:
        if is_repository(base):
            return
        path = Path(base)
        if path.is_absolute() and (_is_blob(base) or not path.exists()):
            return
    raise KdtuiError(f"{where}: its base is neither the id of a hub model nor a path on that host; it was not adopted")


def check_is_base(base: Path) -> None:
    """Refuse to upload a file or folder that is no model.

    Raises:
        KdtuiError: it is neither a GGUF file nor a folder with a configuration.
    """
    is_model = base.suffix == ".gguf" if base.is_file() else (base / _CONFIG).is_file()
    if not is_model:
        raise KdtuiError(f"{base}: this is neither a GGUF file nor a folder with {_CONFIG}; it is not sent")


def _is_blob(base: str) -> bool:
    found = _OF_A_HOST.search(base)
    return found is not None and found.end() == len(base)


def check_base_is_here(job: StoredJob, workdir: str | None = None) -> None:
    """Refuse to continue if the base of a training is missing.

    Args:
        workdir: of a host that may have the base.

    Raises:
        KdtuiError: the base is not on this machine.
        ModelError: the job file cannot be read.
    """
    base = Path(str(read_object(job.folder / JOB).get("base")))
    # The id of a hub model is fetched on the machine that needs it.
    if not base.is_absolute() or base.exists() or (workdir is not None and base.is_relative_to(workdir)):
        return
    if base.suffix == ".gguf":
        raise KdtuiError(
            f"training {job.name!r} begins from {base.name}, which is not on this machine ({base}); give it a name "
            f"with: kdtui model add FILE, or name it with: kdtui sft resume {job.name} --base FILE"
        )
    raise KdtuiError(
        f"training {job.name!r} begins from a folder that is not on this machine ({base}); name the same folder with: "
        f"kdtui sft resume {job.name} --base FOLDER"
    )


def _known(db: Database, *, is_file: bool) -> Iterator[Path]:
    """Yield the named base models and the bases of other trainings."""
    if is_file:
        yield embedded_student()
        yield from (model.path for model in named_models(db) if model.kind == "base")
    for job in list_jobs(db):
        try:
            base = Path(str(read_object(job.folder / JOB).get("base")))
        except ModelError:
            # Somebody deleted it.
            continue
        if base.is_absolute() and base.is_file() == is_file:
            yield base
