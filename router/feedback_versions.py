"""How feedback stands, for whoever looks after it: what counts, whose it is, which versions of profiles there are.

Pure. A version is called by the number of the last feedback that counts in it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from router.records import JsonObject
from router.registry import FeedbackState, Judged

MOST_SOURCES = 20  # that are named


@dataclass(slots=True)
class Standing:
    """Of feedback that is heard in the order of its numbers. `waiting`: for a thaw; `void`: taken out by a restore."""

    state: FeedbackState
    version: int = 0
    counted: int = 0
    right: int = 0
    void: int = 0
    waiting: int = 0
    sources: defaultdict[str, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0]))

    def hear(self, judged: Judged) -> None:
        if judged.void:
            self.void += 1
        elif self.state.frozen is not None and judged.number > self.state.frozen:
            self.waiting += 1
        else:
            self.version, self.counted, self.right = judged.number, self.counted + 1, self.right + judged.right
            said = self.sources[judged.asked.source]
            said[0] += 1
            said[1] += judged.right

    def json(self) -> JsonObject:
        most = sorted(self.sources.items(), key=lambda item: (-item[1][0], item[0]))[:MOST_SOURCES]
        return {
            "frozen": self.state.frozen is not None,
            "version": self.version,
            "last": self.state.last,
            "counted": self.counted,
            "right": self.right,
            "void": self.void,
            "waiting": self.waiting,
            "keys": [{"key": source, "counted": asked, "right": right} for source, (asked, right) in most],
        }


def versions(judged: Iterable[Judged]) -> Iterator[JsonObject]:
    """Each feedback as the version that it made, in their order."""
    for one in judged:
        yield {
            "version": one.number,
            "at": one.at,
            "key": one.asked.source,
            "request_id": one.asked.request_id,
            "policy": one.asked.policy,
            "right": one.right,
            "experts": list(one.asked.experts),
            "void": one.void,
        }
