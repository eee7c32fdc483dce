"""Times as people read them."""

from datetime import UTC, datetime


def duration(seconds: float | None) -> str | None:
    """Hours, minutes and seconds."""
    if seconds is None:
        return None
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def ago(moment: str | None) -> str | None:
    """How long ago that was, in one unit."""
    if moment is None:
        return None
    seconds = (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds()
    for unit, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= unit:
            return f"{seconds / unit:.0f} {name} ago"
    return "now"
