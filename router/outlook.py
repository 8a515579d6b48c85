"""What asking an expert now is expected to take: the forecast that plans are made by, as a frozen record. Pure."""

from __future__ import annotations

from dataclasses import dataclass

EARLY, USUAL, LATE = 0.1, 0.5, 0.95  # quantiles: below the first nothing is hoped for, plans go by the last


@dataclass(frozen=True, slots=True)
class Pace:
    """Of one quantile: seconds to the first token once the call is sent, and per token after it."""

    ttft_s: float = 0.0
    tpot_s: float = 0.0

    def seconds(self, tokens: int) -> float:
        return self.ttft_s + self.tpot_s * max(tokens - 1, 0)


@dataclass(frozen=True, slots=True)
class Outlook:
    """One expert, one query, now.

    `prompt_tokens`: of the query, as money is held for; `prompt_nanos`: what they cost, nanodollars. `token_nanos`: of
    one output token, all samples together. `tokens`: output tokens of one sample that it will not exceed in 95 of 100
    answers, as far as known, not bounded by anybody's `max_tokens`. `mean_tokens`: on the mean. `room`: output tokens
    that its context leaves. `wait_s`: in its queue, or until it is awake. `early`, `usual`, `late`: its pace at the
    quantiles EARLY, USUAL and LATE, at the load it has now. `known`: whether these were measured; where not they are
    zero, and nothing is refused for them.
    """

    expert: str
    prompt_tokens: int = 0
    prompt_nanos: int = 0
    token_nanos: float = 0.0
    tokens: int = 512
    mean_tokens: float = 128.0
    room: int = 1_000_000
    wait_s: float = 0.0
    early: Pace = Pace()
    usual: Pace = Pace()
    late: Pace = Pace()
    known: bool = False

    def nanos(self, tokens: float) -> int:
        """What an answer of so many tokens costs, nanodollars, rounded up."""
        return self.prompt_nanos + -int(-(self.token_nanos * tokens) // 1)

    def late_s(self, tokens: int) -> float:
        return self.wait_s + self.late.seconds(tokens)

    def usual_s(self, tokens: int) -> float:
        return self.wait_s + self.usual.seconds(tokens)

    def early_s(self, tokens: int) -> float:
        return self.wait_s + self.early.seconds(tokens)
