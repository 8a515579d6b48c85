"""Hard filters before any scoring: who cannot take this query at all, and why. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from experts.spec import Expert
from router.errors import BadRequest, Forbidden, NoExpertAvailable, SymposiumError
from router.records import Query

DOWN = "down"
RESTING = "resting"  # its breaker is open: it failed, or was slow, too often
CONTEXT = "context"
POLICY = "policy"
NOT_ALLOWED = "not_allowed"  # to whoever asks
BYTES_PER_MESSAGE_MARKERS = 64
MAX_BYTES_PER_TOKEN = 256  # the longest tokens of common vocabularies are runs of 128 blanks or dashes


def to_count(query: Query, experts: Mapping[str, Expert], allowed: Collection[str]) -> list[str]:
    """The allowed experts for which only counting the prompt's tokens can tell whether it fits.

    No tokenizer makes more tokens than bytes, so most prompts need no counting; and none makes one token of more
    than `MAX_BYTES_PER_TOKEN`, so hopeless ones need none either.
    """
    return [name for name in allowed if _fits_by_bytes(query, experts[name]) is None]


def exclusions(
    query: Query,
    experts: Mapping[str, Expert],
    allowed: Collection[str],
    up: Mapping[str, bool],
    prompt_tokens: Mapping[str, int],
) -> dict[str, str]:
    """Expert -> why it must not be asked; experts that may be are not in it.

    Args:
        allowed: the experts of the policy.
        up: whether each expert's server answers.
        prompt_tokens: this query's prompt, counted for the experts of `to_count`.
    """

    def fits(name: str, expert: Expert) -> bool:
        known = _fits_by_bytes(query, expert)
        return prompt_tokens[name] <= _room(query, expert) if known is None else known

    def reason(name: str, expert: Expert) -> str | None:
        if name not in allowed:
            return POLICY
        can = expert.capabilities
        if missing := query.needs.missing(can.tools, can.json_schema, can.images):
            return missing[0]
        if not fits(name, expert):
            return CONTEXT
        return None if up.get(name, False) else DOWN

    return {name: why for name, expert in experts.items() if (why := reason(name, expert)) is not None}


def _room(query: Query, expert: Expert) -> int:
    return expert.context_tokens - (query.max_tokens or 1)


def _fits_by_bytes(query: Query, expert: Expert) -> bool | None:
    size, room = query.prompt_bytes, _room(query, expert)
    if size + BYTES_PER_MESSAGE_MARKERS * len(query.texts) <= room:
        return True
    return False if size > room * MAX_BYTES_PER_TOKEN else None


def nobody(query: Query, excluded: Mapping[str, str]) -> SymposiumError:
    """The error when every expert is excluded: what the client can do comes before what it cannot."""
    reasons = {reason for reason in excluded.values() if reason not in (POLICY, NOT_ALLOWED)}
    if reasons & {DOWN, RESTING}:
        return NoExpertAvailable("No capable expert is up; try again shortly.", code="no_expert_available")
    if CONTEXT in reasons:
        return BadRequest(
            "The prompt, with max_tokens, is longer than the context of every capable expert. "
            "Shorten it or lower max_tokens.",
            code="context_length_exceeded",
            param="messages" if query.kind == "chat" else "prompt",
        )
    if not reasons:
        return Forbidden(
            "Your API key may use none of this model's experts.", code="experts_not_allowed", param="model"
        )
    param = {"tools": "tools", "json_schema": "response_format", "images": "messages"}
    capability = next((c for c in param if c in reasons), "tools")
    return BadRequest(
        f"No expert of this model can take this request: it needs '{capability}'. Leave {param[capability]} out or ask "
        "another model (GET /v1/models).",
        code="capability_not_available",
        param=param[capability],
    )
