"""The system's own log: a JSON object a line, with the id of the request that it was written for.

What a request says never comes in: lines are about requests, exceptions are told by their type and where they were
raised (their texts may quote what a client sent), and what has the form of a key is masked wherever it stands. Must not
know what is logged, or under which server it runs.
"""

from __future__ import annotations

import json
import logging
import re
from contextvars import ContextVar
from datetime import UTC, datetime
from traceback import extract_tb
from typing import Any

from router.redact import without_secrets

REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")
MAX_CHARS = 2000  # of one text
MAX_FRAMES = 12  # of one exception, the innermost
_HEADER = re.compile(  # whatever it holds: lines of ours have no need for it
    r"(?i)(bearer\s+)\S+"
    r"|(\b(?:authorization|x-symposium-internal|api[-_]?key)\b[\"']?\s*[:=]\s*[\"']?)[^\s\"',}]+(?:\s+[A-Za-z0-9._~+/=-]{6,})?"
)
_STANDARD = frozenset(logging.LogRecord("", 0, "", 0, "", None, None).__dict__) | {"message", "asctime", "taskName"}


class JsonLines(logging.Formatter):
    """Time (UTC), level, logger, message, request id, and whatever fields a line has of its own."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if request_id := REQUEST_ID.get():
            line["request_id"] = request_id
        line |= {key: value for key, value in record.__dict__.items() if _own(key) and value is not None}
        if record.exc_info and record.exc_info[1] is not None:
            line["error"] = _told(record.exc_info[1])
        return json.dumps({key: _safe(value) for key, value in line.items()}, ensure_ascii=False)


def write_to(handler: logging.Handler, *loggers: str, level: int = logging.INFO) -> None:
    """These loggers' lines go to this handler as JSON, and nowhere else."""
    handler.setFormatter(JsonLines())
    for name in loggers:
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)


def masked(text: str) -> str:
    """The text without what has the form of a key, and not too long."""
    found = _HEADER.sub(lambda found: (found[1] or found[2]) + "[secret]", text[:MAX_CHARS])
    return without_secrets(found)[: 2 * MAX_CHARS]


def _own(key: str) -> bool:
    """A field of the line's own; the server around us marks records with hidden ones."""
    return key not in _STANDARD and not key.startswith("_")


def _safe(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, list):
        return [_safe(item) for item in value]
    return masked(str(value))


def _told(error: BaseException) -> list[str]:
    """An exception's type, what it came of, and where: no text of its own."""
    told: list[str] = []
    seen: BaseException | None = error
    while seen is not None and len(told) < MAX_FRAMES:
        frames = extract_tb(seen.__traceback__)[-MAX_FRAMES:]
        told.append(type(seen).__name__)
        told += [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return told
