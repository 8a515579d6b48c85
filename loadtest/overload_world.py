"""One recorded expert of so many slots, a symposium before it, and clients that ask whether or not there is room.

What came of it is counted here; what is compared, and what is wanted, is `overload.py`'s.
"""

from __future__ import annotations

import hashlib
import random
import re
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import aiohttp

from loadtest.open_loop import poisson, run
from loadtest.recorded_world import RecordedServer
from loadtest.report import quantile
from loadtest.server import REPOSITORY, Served, cpu_s_of

QUICKSTART = REPOSITORY / "configs" / "quickstart"
EXPERT, QUESTIONS = "sage", 500
TOKENS, MOST_TOKENS, SIGMA, TTFT_S = 40, 100, 0.5, 0.02  # an answer that alone takes too long would tell nothing
GOOD = 3  # times an answer's time
AT_ONCE_S = 0.005  # wanted of a refusal
TENANTS = ("quiet", "flood")
UNBOUNDED = {"least": 100_000, "first": 100_000, "most": 100_000}
LIMIT = re.compile(rf'^symposium_calls_limit{{expert="{EXPERT}"}} (\S+)$', re.MULTILINE)
JsonObject = dict[str, Any]


def _lengths() -> list[int]:
    """Output tokens of the answer to each question, TOKENS on the mean."""
    rng = random.Random(0)
    drawn = [rng.lognormvariate(0, SIGMA) for _ in range(QUESTIONS)]
    scale = TOKENS / fmean(drawn)
    return [min(max(2, round(scale * one)), MOST_TOKENS) for one in drawn]


ANSWERS = _lengths()


@dataclass(frozen=True, slots=True)
class Expert:
    """So many answers at once, each of so many seconds on the mean."""

    slots: int
    answer_s: float

    @property
    def capacity_per_s(self) -> float:
        return self.slots / self.answer_s

    @property
    def good_s(self) -> float:
        return GOOD * self.answer_s

    def takes_s(self, number: int) -> float:
        """The answer to that question, begun at once."""
        return TTFT_S + (ANSWERS[number % QUESTIONS] - 1) * (self.answer_s - TTFT_S) / (TOKENS - 1)

    def pace(self) -> JsonObject:
        """As recorded experts are told."""
        return {
            "ttft_s": TTFT_S,
            "tokens_per_s": (TOKENS - 1) / (self.answer_s - TTFT_S),
            "tokens_per_chunk": 4,
            "slots": self.slots,
        }


@dataclass(frozen=True, slots=True)
class Seen:
    """One request. `at_s`: since the load began. `good`: answered whole in time. `added_s`: beside what its answer by
    itself takes.
    """

    at_s: float
    seconds: float
    outcome: str
    good: bool
    added_s: float

    @property
    def refused(self) -> bool:
        return self.outcome not in ("whole", "deadline")


@dataclass(frozen=True, slots=True)
class Load:
    """What came of a load of so many seconds, and what it took of the router: CPU seconds, resident MiB at its end; and
    how many calls could be under way then. `warm_s`: until then the expert was not full yet.
    """

    seen: Sequence[Seen]
    seconds: float
    cpu_s: float
    rss_mib: float
    limit: int
    warm_s: float

    @property
    def goodput(self) -> float:
        """Good answers a second: those that came after the expert was full and before the load's end."""
        return self._good(self.warm_s, self.seconds)

    def _good(self, since_s: float, until_s: float) -> float:
        came = (one.at_s + one.seconds for one in self.seen if one.good)
        return sum(since_s <= at_s < until_s for at_s in came) / (until_s - since_s)

    def json(self) -> JsonObject:
        refused = [one.seconds for one in self.seen if one.refused]
        return {
            "asked_per_s": round(len(self.seen) / self.seconds, 1),
            "goodput_per_s": round(self.goodput, 2),
            "goodput_per_s_second_half": round(self._good(self.seconds / 2, self.seconds), 2),
            "outcomes": dict(Counter(one.outcome for one in self.seen)),
            "refused_ms_p50": round(quantile(refused, 0.5) * 1000, 2),
            "refused_ms_p99": round(quantile(refused, 0.99) * 1000, 2),
            "refused_late": round(sum(one > AT_ONCE_S for one in refused) / max(len(refused), 1), 4),
            "limit_at_end": self.limit,
            "router_cpu_s": round(self.cpu_s, 2),
            "router_rss_mib": round(self.rss_mib, 1),
        }


def question(number: int) -> str:
    return f"Question {number % QUESTIONS}: what is it?"


def book_rows() -> list[tuple[str, str, str, int]]:
    return [(question(number), EXPERT, "word " * count, count) for number, count in enumerate(ANSWERS)]


def key(tenant: str) -> str:
    return f"sk-{tenant}"


def configuration(server: RecordedServer, expert: Expert, *, bounded: bool) -> JsonObject:
    keys = [{"name": t, "tenant": t, "sha256": hashlib.sha256(key(t).encode()).hexdigest()} for t in TENANTS]
    return {
        "version": 1,
        "data": "${SYMPOSIUM_DATA}",
        "server": {"api_keys": keys, "limits": {"max_in_flight": 2048}},
        "tenants": {tenant: {} for tenant in TENANTS},
        "experts": {EXPERT: server.expert(EXPERT)},
        "routing": {
            "fitted": str(QUICKSTART / "fitted.npz"),
            "profiles": "profiles.json",
            "general_expert": EXPERT,
            "min_confidence": 0,
        },
        "convening": {
            "hedge_quantile": None,
            "breakers": {"failures_in_a_row": 1_000_000, "min_calls": 1_000_000},
            "concurrency": {"first": expert.slots} if bounded else UNBOUNDED,
        },
        "policies": {"auto": {}},
    }


class Clients:
    """All that ask, over one session."""

    def __init__(self, served: Served, server: RecordedServer, expert: Expert, session: aiohttp.ClientSession) -> None:
        self._url, self._session = served.url, session
        self.router = served.replica("symposium")
        self.server, self.expert = server, expert

    async def load(
        self, times: float, seconds: float, *, deadline: bool, tenant: str = TENANTS[0], seed: int = 0
    ) -> Load:
        """So many times what there is, for so long."""
        per_s = times * self.expert.capacity_per_s
        ats = poisson(round(per_s * seconds), per_s, seed)
        cpu_s, seen = cpu_s_of(self.router), list[Seen]()

        async def ask(number: int) -> None:
            seen.append(await self.ask(ats[number], seed * len(ats) + number, tenant, deadline=deadline))

        await run(ats, ask)
        cpu_s, rss_mib = cpu_s_of(self.router) - cpu_s, self.router.memory_info().rss / 2**20
        return Load(seen, ats[-1], cpu_s, rss_mib, await self._limit(), self.expert.good_s)

    async def _limit(self) -> int:
        async with self._session.get(f"{self._url}/metrics") as response:
            found = LIMIT.search(await response.text())
        assert found is not None
        return int(float(found[1]))

    async def ask(self, at_s: float, number: int, tenant: str, *, deadline: bool) -> Seen:
        body = {"model": EXPERT, "messages": [{"role": "user", "content": question(number)}]}
        headers = {"authorization": f"Bearer {key(tenant)}"}
        if deadline:
            headers["x-symposium-deadline-ms"] = f"{self.expert.good_s * 1000:.0f}"
        began = time.monotonic()
        try:
            async with self._session.post(f"{self._url}/v1/chat/completions", json=body, headers=headers) as response:
                told = await response.json()
            outcome = told["error"]["code"] if "error" in told else told["symposium"].get("ended_early", "whole")
        except (aiohttp.ClientError, TimeoutError) as error:
            outcome = type(error).__name__
        seconds = time.monotonic() - began
        good = outcome == "whole" and seconds <= self.expert.good_s
        return Seen(at_s, seconds, outcome, good, seconds - self.expert.takes_s(number))


def profiles() -> JsonObject:
    about = dict.fromkeys(("expert_version", "engine_version", "questions"), "recorded")
    profile = about | {"overall": {"right": 80, "asked": 100}, "output_tokens": 100 * TOKENS}
    return {"format": 2, "experts": {EXPERT: profile}}
