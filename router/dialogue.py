"""Which of the user's turns a conversation is routed by. Pure.

A conversation stays with the experts of its *anchor*: the turn that set the present topic. "And the other one?" says
nothing by itself; it goes where its conversation is. Only a turn that is surely about something else moves the anchor.
Found from the turns alone, so every replica finds the same, and no one has to remember it.

Must not know: how turns are classified, and what a route is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from router.records import CategoryScores

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


MIN_LEAD = 0.2  # of cosine. "And of 17 and 5?" looks like some sum, yet hardly more than like what it follows


def anchor(turns: Sequence[CategoryScores], cosines: NDArray[np.float32], min_lead: float = MIN_LEAD) -> int:
    """Index of the turn that set the present topic.

    The first turn, until a later one is confident. A sure topic gives way only to a turn of another category that is
    nearer to a skill of its own than to the topic's nearest skill, by `min_lead`.

    Args:
        turns: of at least one user turn, oldest first; the last is what is asked now.
        cosines: [N, S], each turn's to the known skills (`Vocabulary.cosines`).
    """
    assert turns, "what is asked now is a turn"
    found = 0
    for index, turn in enumerate(turns):
        topic = turns[found]
        if not turn.confident or (topic.confident and turn.category == topic.category):
            continue
        if not topic.confident or _lead(cosines[index], cosines[found]) >= min_lead:
            found = index
    return found


def _lead(turn: NDArray[np.float32], topic: NDArray[np.float32]) -> float:
    return float(turn.max() - turn[topic.argmax()])


def cut(text: str, max_chars: int) -> str:
    """What of a text is looked at: without the white space around it, and so many characters at most."""
    return text.strip()[:max_chars].rstrip()


def bounded(texts: Sequence[str], max_turns: int, max_chars: int, remembered: str | None = None) -> tuple[str, ...]:
    """The user's turns that are looked at: the first and the last `max_turns` - 1, without blank ones.

    Each without the white space around it and cut to `max_chars`, so that a turn is the same text in every request
    that holds it. None where all are blank.

    Args:
        texts: oldest first; the last is what is asked now.
        max_turns: at least 2.
        remembered: the session's anchor as of its last request, a text that was returned here. What was said before it
            does not matter any more. Where the turns do not hold it, it is older than they are, or was left out of
            them: it takes the first one's place.
    """
    assert max_turns >= 2, "the first turn, and what is asked now"
    turns = [turn for text in texts if (turn := cut(text, max_chars))]
    latest = turns[1 - max_turns :]
    first = turns[: len(turns) - len(latest)][:1]
    looked_at = (*first, *latest)
    if remembered is None:
        return looked_at
    return looked_at[looked_at.index(remembered) :] if remembered in looked_at else (remembered, *latest)
