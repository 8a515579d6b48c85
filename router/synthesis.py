"""What an aggregating expert is asked: the client's own request, with the responses in place of the question. Pure.

What experts said is data: fenced by delimiters it cannot forge, bounded, and anonymous (`experts/prompts.py`). Their
order is drawn by the request's id, so that no expert always stands first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random

from experts.prompts import aggregation_prompt
from router.records import Query, Reply
from router.trace_context import AGGREGATE

TEXTS = ("text", "input_text")  # types of a message's parts that the prompt takes the place of
LEAST = 2  # fewer responses with a text need no aggregator


def worth_reading(replies: Sequence[Reply]) -> tuple[Reply, ...]:
    """The replies that say something."""
    return tuple(reply for reply in replies if reply.text.strip())


def synthesis_query(query: Query, replies: Sequence[Reply], max_chars: int) -> Query:
    """What the aggregating expert is asked: sampling parameters and earlier messages are the client's.

    Args:
        max_chars: bound on the question, and on each response.
    """
    said = [reply.text for reply in replies]
    Random(query.request_id).shuffle(said)
    prompt = aggregation_prompt(query.text, said, max_chars)
    messages = list(query.body["messages"])
    asked = next((i for i in reversed(range(len(messages))) if messages[i].get("role") == "user"), len(messages))
    content = messages[asked].get("content") if asked < len(messages) else None
    shown = [part for part in content if part.get("type") not in TEXTS] if isinstance(content, list) else []
    says = [*shown, {"type": "text", "text": prompt}] if shown else prompt  # images stay
    return replace(
        query,
        request_id=f"{query.request_id}-s",
        body=query.body | {"messages": [*messages[:asked], {"role": "user", "content": says}]},
        texts=(*query.texts[:asked], prompt),
        trace=query.trace.below(f"{query.request_id}/{AGGREGATE}") if query.trace else None,
    )
