"""A key and a token that can be found in everything that a run leaves behind."""

from pathlib import Path

from tests.support.fake_chat_server import GOOD, Fake
from tests.support.fake_teacher import good

KEY, TOKEN = "sk-marked-9b7d1c", "hf_marked_4e20aa"


def files_with_secrets(folder: Path) -> list[str]:
    secrets = (KEY.encode(), TOKEN.encode())
    files = (path for path in folder.rglob("*") if path.is_file())
    return [str(path) for path in files if any(secret in path.read_bytes() for secret in secrets)]


def refusing_first(fake: Fake, number: int) -> None:
    """Refuse the first request and repeat its key, as some servers do; then be a good teacher, student and judge."""
    if number == 0:
        fake.send({"error": {"message": f"Incorrect API key provided: {KEY}"}}, 401)
    elif "state the rules" in str(fake.body) or "why" in str(fake.body):
        good(fake, number)
    else:
        fake.complete(GOOD)
