"""Does a conversation stay with its experts, and what is that worth to the engines' prefix caches?

    python -m loadtest.conversation [--conversations 40] [--turns 8] [--config FILE | --url URL] [--json OUT.json]

Plays conversations whose follow-ups say nothing by themselves ("And of 17 and 5?"); half of them change the topic in
the middle. Each is played four times, every turn waiting for the answer before it:

    history   to the policy, with all that was said before
    session   to the policy, with `x-session-id` and nothing of what was said before
    apart     with all that was said before, but to the expert that the policy gives each turn alone
    random    with all that was said before, to any expert

Reported of each: the share of follow-ups routed to their topic's experts, the share of topic changes routed to those of
the new topic, the share of turns that another expert answered (a hedge, a replacement), and the share of prompt tokens
that the engines found in their prefix caches, by vLLM's counters. A system message tells conversations apart, so that
none finds another's prefix. `--url` is a running symposium; its counters are read where SYMPOSIUM_INTERNAL_URL and
SYMPOSIUM_INTERNAL_TOKEN lead to its engines.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
import yaml
from rich.console import Console
from rich.progress import track

from loadtest.report import publish
from loadtest.routing_asking import models
from loadtest.server import REPOSITORY, TOKEN_HEADER, serving

CONFIG = REPOSITORY / "configs" / "quickstart.yaml"
QUESTIONS = REPOSITORY / "configs" / "quickstart" / "questions.jsonl"
ARMS: Final = ("history", "session", "apart", "random")
AT_ONCE = 4
MAX_TOKENS = 16  # the whole conversation has to fit the zoo's context of 512 tokens
REQUEST_LIMIT_S = 60.0
QUERIES, HITS = "vllm:prefix_cache_queries_total", "vllm:prefix_cache_hits_total"

# What a follow-up names, by the skill that the conversation is about.
NAMED: Final[Mapping[str, str]] = {
    "addition": "{a} and {b}",
    "subtraction": "{a} and {b}",
    "multiplication": "{a} and {b}",
    "larger_number": "{a} and {b}",
    "parity": "{a}",
    "digit_sum": "{a}",
    "roman_numerals": "{a}",
    "reversal": "{word}",
    "last_letter": "{word}",
    "letter_count": "{word}",
    "capitals": "{country}",
    "chemical_symbols": "{element}",
    "weekday_after": "{day}",
    "month_after": "{month}",
}
FRAMES: Final = ("And {}?", "And of {}?", "What about {}?", "Now {}.", "The same for {}, please.", "Are you sure?")
WORDS: Final[Mapping[str, Sequence[str]]] = {
    "word": "snail filayu tiger muujiyo horse".split(),
    "country": "Egypt Finland Spain Japan Peru".split(),
    "element": "lead iron gold oxygen copper".split(),
    "day": "Monday Tuesday Friday Sunday".split(),
    "month": "January March July November".split(),
}


@dataclass(frozen=True, slots=True)
class Conversation:
    """What a user says, turn by turn. `changes_at`: the turn that opens a second topic; None: there is none."""

    turns: tuple[str, ...]
    changes_at: int | None = None

    def opener(self, turn: int) -> int:
        """The turn that opened the topic of `turn`."""
        return 0 if self.changes_at is None or turn < self.changes_at else self.changes_at


@dataclass(frozen=True, slots=True)
class Heard:
    """One turn's outcome: who was planned, who answered (of several, their names together), and what."""

    planned: str
    answered: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class Target:
    """A running symposium. `engines` are the addresses of their counters; none where they cannot be reached."""

    url: str
    engines: tuple[str, ...] = ()
    token: str = ""


def conversations(questions: Sequence[Mapping[str, str]], count: int, turns: int, seed: int) -> list[Conversation]:
    """`count` conversations of `turns` turns each; every second one changes to another category in the middle.

    Args:
        questions: with `question`, `category` and `skill`; openers are taken from them.
    """
    rng = random.Random(seed)
    known = [q for q in questions if q["skill"] in NAMED]
    found = []
    for number in range(count):
        first = rng.choice(known)
        changes_at = turns // 2 if number % 2 else None
        said = [first["question"], *_follow_ups(first["skill"], (changes_at or turns) - 1, rng)]
        if changes_at is not None:
            second = rng.choice([q for q in known if q["category"] != first["category"]])
            said += [second["question"], *_follow_ups(second["skill"], turns - changes_at - 1, rng)]
        found.append(Conversation(tuple(said), changes_at))
    return found


def _follow_ups(skill: str, count: int, rng: random.Random) -> list[str]:
    said = []
    for _ in range(count):
        a, b = rng.sample(range(2, 100), 2)
        named = NAMED[skill].format(a=a, b=b, **{kind: rng.choice(words) for kind, words in WORDS.items()})
        said.append(rng.choice(FRAMES).format(named))
    return said


def figures(
    played: Sequence[Conversation], heard: Sequence[Sequence[Heard]], alone: Mapping[str, str]
) -> dict[str, float | int | None]:
    """Whom the turns were routed to, summed up.

    Args:
        heard: of each conversation, each turn's outcome.
        alone: whom a text is routed to that is asked alone.
    """
    kept: list[bool] = []
    kept_after: list[bool] = []
    moved: list[bool] = []
    as_alone: list[bool] = []
    for conversation, outcomes in zip(played, heard, strict=True):
        experts = [outcome.planned for outcome in outcomes]
        for turn, expert in list(enumerate(experts))[1:]:
            opener = conversation.opener(turn)
            if turn == conversation.changes_at:
                moved.append(expert != experts[turn - 1])
                as_alone.append(expert == alone[conversation.turns[turn]])
            else:
                (kept_after if opener else kept).append(expert == experts[opener])
    return {
        "turns": sum(map(len, heard)),
        "follow_ups_kept": _share(kept),
        "topic_changes": len(moved),
        "topic_changes_moved": _share(moved),
        "topic_changes_as_asked_alone": _share(as_alone),
        "follow_ups_kept_after_change": _share(kept_after),
        "answered_by_another": _share([h.answered != h.planned for outcomes in heard for h in outcomes]),
    }


def _share(happened: Sequence[bool]) -> float | None:
    return round(sum(happened) / len(happened), 4) if happened else None


def planned(plan: str) -> str:
    """The experts named by an `x-symposium-plan` header."""
    return plan.rpartition("asked=")[2]


def total(metrics: str, name: str) -> float:
    """A counter's sum over its labels, of Prometheus' text format."""
    lines = (line for line in metrics.splitlines() if line.startswith((name + "{", name + " ")))
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


class Player:
    """Plays conversations against one symposium."""

    def __init__(self, session: aiohttp.ClientSession, target: Target, policy: str, seed: int) -> None:
        self._session, self._target, self._policy, self._seed = session, target, policy, seed
        self._alone: dict[str, str] = {}
        self._experts: tuple[str, ...] = ()

    async def measure(self, played: Sequence[Conversation], api_key: str, console: Console) -> dict[str, Any]:
        self._experts = (await models(self._target.url, api_key)).experts
        texts = sorted({text for conversation in played for text in conversation.turns})
        for text in track(texts, "each turn alone", console=console):
            self._alone[text] = (await self._ask(self._policy, [_user(text)])).planned
        report = {}
        for arm in ARMS:
            report[arm] = await self._arm(arm, played)
            console.print(f"{arm:8s} {report[arm]}")
        return report

    async def _arm(self, arm: str, played: Sequence[Conversation]) -> dict[str, Any]:
        heard: list[list[Heard]] = [[] for _ in played]
        before, left = await self._counters(), iter(range(len(played)))

        async def worker() -> None:
            for number in left:
                heard[number] = await self._play(arm, number, played[number])

        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(worker())
        queries, hits = (int(now - then) for now, then in zip(await self._counters(), before, strict=True))
        rate = round(hits / queries, 4) if queries else None
        cache = {"prompt_tokens": queries, "cached_tokens": hits, "hit_rate": rate}
        return figures(played, heard, self._alone) | cache

    async def _play(self, arm: str, number: int, conversation: Conversation) -> list[Heard]:
        rng = random.Random(f"{self._seed}/{number}")
        name = f"{self._seed}-{arm}-{number}"
        said, heard = [{"role": "system", "content": f"{name}."}], []
        for text in conversation.turns:
            said.append(_user(text))
            model = {"apart": self._alone[text], "random": rng.choice(self._experts)}.get(arm, self._policy)
            sent, session_id = ([said[0], said[-1]], name) if arm == "session" else (said, None)
            heard.append(await self._ask(model, sent, session_id))
            said.append({"role": "assistant", "content": heard[-1].text})
        return heard

    async def _ask(self, model: str, messages: list[dict[str, str]], session_id: str | None = None) -> Heard:
        """Raises RuntimeError when nobody answers."""
        body = {"model": model, "messages": messages, "temperature": 0, "max_tokens": MAX_TOKENS}
        headers = {"x-session-id": session_id} if session_id else {}
        url = f"{self._target.url}/v1/chat/completions"
        async with self._session.post(url, json=body, headers=headers) as response:
            answer = await response.json()
            if response.status != 200:
                raise RuntimeError(f"HTTP {response.status}: {answer}")
            plan, answered = (response.headers[f"x-symposium-{what}"] for what in ("plan", "experts"))
            return Heard(planned(plan), answered, answer["choices"][0]["message"]["content"] or "")

    async def _counters(self) -> tuple[float, float]:
        """Tokens looked for in the prefix caches, and found there, by all engines so far."""
        texts, headers = [], {TOKEN_HEADER: self._target.token}
        for engine in self._target.engines:
            async with self._session.get(f"{engine}/metrics", headers=headers, raise_for_status=True) as response:
                texts.append(await response.text())
        return sum(total(text, QUERIES) for text in texts), sum(total(text, HITS) for text in texts)


def _user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


async def measure(target: Target, options: argparse.Namespace, console: Console) -> dict[str, Any]:
    lines = QUESTIONS.read_text(encoding="utf-8").splitlines()
    played = conversations([json.loads(line) for line in lines], options.conversations, options.turns, options.seed)
    headers = {"authorization": f"Bearer {options.api_key}"} if options.api_key else {}
    timeout = aiohttp.ClientTimeout(total=REQUEST_LIMIT_S)
    async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
        arms = await Player(session, target, options.policy, options.seed).measure(played, options.api_key, console)
    return {"conversations": len(played), "turns": options.turns, "policy": options.policy, "arms": arms}


def engine_addresses(config: Path, internal_url: str) -> tuple[str, ...]:
    """Where each engine of a configuration is reached."""
    engines = yaml.safe_load(config.read_text(encoding="utf-8")).get("engines") or {}
    return tuple(f"{internal_url}/experts/{name}" for name in engines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--conversations", type=int, default=40)
    parser.add_argument("--turns", type=int, default=8, help="of the user, per conversation")
    parser.add_argument("--policy", default="fast", help="one that asks a single expert")
    parser.add_argument("--config", type=Path, default=CONFIG, help="what is started, or (with --url) what runs there")
    parser.add_argument("--url", help="a running symposium")
    parser.add_argument("--api-key", default="")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--json", type=Path, help="write the report here")
    options = parser.parse_args()
    console = Console(stderr=True)
    if options.url:
        internal_url = os.environ.get("SYMPOSIUM_INTERNAL_URL")
        engines = engine_addresses(options.config, internal_url) if internal_url else ()
        target = Target(options.url.rstrip("/"), engines, os.environ.get("SYMPOSIUM_INTERNAL_TOKEN", ""))
        report = asyncio.run(measure(target, options, console))
    else:
        with tempfile.TemporaryDirectory() as folder, serving(options.config, Path(folder) / "serve.log") as served:
            target = Target(served.url, engine_addresses(options.config, served.internal_url), served.token)
            report = asyncio.run(measure(target, options, console))
    publish(report, options.json)


if __name__ == "__main__":
    main()
