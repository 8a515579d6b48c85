"""What a session was about when it last asked, for clients that name it but do not send what was said before.

A small memory of one replica, bounded in number and in age. Nothing depends on it: without it a conversation is
routed by the turns that its request holds. Must not know: what a topic is, and what time it is.
"""

from __future__ import annotations

from collections import OrderedDict

SessionKey = tuple[str, str, str]  # whose, under which policy, the client's own name for it


class Sessions:
    """Session -> a text. Who asked longest ago is forgotten first."""

    def __init__(self, capacity: int, ttl_s: float) -> None:
        """At most `capacity` sessions, each for `ttl_s` seconds after its last `put`. Zero of either: none."""
        self._capacity, self._ttl_s = capacity, ttl_s
        self._held: OrderedDict[SessionKey, tuple[str, float]] = OrderedDict()  # with when; the oldest first

    def __len__(self) -> int:
        return len(self._held)

    def get(self, key: SessionKey, now: float) -> str | None:
        """What was put last, unless that is too long ago. Being read does not make it younger."""
        self._forget(now)
        found = self._held.get(key)
        return found[0] if found else None

    def put(self, key: SessionKey, text: str, now: float) -> None:
        """Takes the place of what was there. The caller bounds `key` and `text`.

        Args:
            now: seconds on a clock that does not go back.
        """
        self._held[key] = (text, now)
        self._held.move_to_end(key)
        self._forget(now)

    def _forget(self, now: float) -> None:
        while self._held:
            _, put_at = next(iter(self._held.values()))
            if len(self._held) <= self._capacity and now - put_at < self._ttl_s:
                return
            self._held.popitem(last=False)
