"""What an operator decides about being watched: what a running symposium writes down of its requests, and for how long.

Part of `Config`. Knows nothing of what is done with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from experts.spec import Spec, Wrong

Prompts = Literal["hash", "redacted"]


class Decisions(Spec):
    """The decision log: every request with its decision and outcome, in `decisions/` of the data folder.

    A file is closed at midnight UTC and when it is large enough; the oldest files go first, each as a whole.

    `enabled`: whether there is one. `max_mb`: bound on all files together. `max_days`: bound on the days kept, today
    being one. `file_mb`: where one file ends and the next begins. `queue`: so many records of one router replica may
    wait to be written; what comes on top is dropped and counted. `flush_s`: seconds between two writes.
    `max_prompt_chars`: bound on what is kept of a question where its policy says `prompts: redacted`.
    """

    enabled: bool = True
    max_mb: float = Field(default=1024.0, gt=0)
    max_days: int = Field(default=30, ge=1)
    file_mb: float = Field(default=64.0, gt=0)
    queue: int = Field(default=8192, ge=1)
    flush_s: float = Field(default=1.0, gt=0, le=60)
    max_prompt_chars: int = Field(default=4000, ge=1)

    def contradictions(self) -> Iterator[Wrong]:
        if self.file_mb * 2 > self.max_mb:
            yield ("file_mb",), "must be at most half of max_mb: the oldest file goes as a whole"


class Tracing(Spec):
    """OpenTelemetry spans of every request, sent as OTLP over HTTP. Off without `endpoint`.

    `endpoint`: the collector's URL with its path, as `http://127.0.0.1:4318/v1/traces`. `sample`: the share of requests
    that are traced; a request that belongs to a trace of the client's is traced where the client's own is. `prompts`:
    spans hold what was asked and answered, too. `service_name`: what the system is called in them.
    """

    endpoint: str | None = Field(default=None, pattern=r"^https?://[^\s]+$")
    sample: float = Field(default=1.0, ge=0, le=1)
    prompts: bool = False
    service_name: str = Field(default="symposium", min_length=1)
