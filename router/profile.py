"""Offline: measures every expert on labelled questions through its served endpoint; counts, never means."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import httpx
from rich.console import Console
from rich.progress import Progress

from router.profiles import Count, Profile, Profiles
from router.questions import LabelledQuestion
from router.vote import extract

MAX_TOKENS = 64
TIMEOUT_S = 120


async def measure(
    questions: Sequence[LabelledQuestion],
    experts: Sequence[str],
    url: str,
    api_key: str,
    concurrency: int,
    console: Console,
) -> Profiles:
    """Asks each expert every question, greedily, and counts right answers per skill and category.

    Raises:
        httpx.HTTPError: the symposium cannot be reached.
        ValueError: an expert refused; the message says why.
    """
    headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
    profiles = {}
    gate = asyncio.Semaphore(concurrency)
    limits = httpx.Limits(max_connections=concurrency)
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=TIMEOUT_S, limits=limits) as client:
        with Progress(console=console) as bars:
            for expert in experts:
                task = bars.add_task(expert, total=len(questions))
                answers = await asyncio.gather(
                    *(_ask(client, gate, expert, q.question, partial(bars.advance, task)) for q in questions)
                )
                profiles[expert] = count(questions, answers)
    return Profiles(experts=profiles)


async def _ask(
    client: httpx.AsyncClient, gate: asyncio.Semaphore, expert: str, question: str, done: Callable[[], None]
) -> dict[str, Any]:
    body = {
        "model": expert,
        "messages": [{"role": "user", "content": question}],
        "max_tokens": MAX_TOKENS,
        "temperature": 0,
    }
    async with gate:
        response = await client.post("/v1/chat/completions", json=body)
    done()
    answer: dict[str, Any] = response.json()
    if response.status_code != 200:
        raise ValueError(f"expert '{expert}': {answer.get('error', {}).get('message', answer)}")
    return answer


def count(questions: Sequence[LabelledQuestion], answers: Sequence[dict[str, Any]]) -> Profile:
    """Pure: questions and OpenAI responses, pairwise -> one profile."""
    overall, categories, skills = Count(), dict[str, Count](), dict[str, Count]()
    output_tokens = 0
    for question, answer in zip(questions, answers, strict=True):
        text = answer["choices"][0]["message"]["content"] or ""
        right = extract(text) == extract(question.answer)
        overall = overall.plus(right)
        categories[question.category] = categories.get(question.category, Count()).plus(right)
        skills[question.skill] = skills.get(question.skill, Count()).plus(right)
        output_tokens += answer["usage"]["completion_tokens"]
    return Profile(
        version=str(answers[0].get("system_fingerprint") or "unknown"),
        overall=overall,
        categories=categories,
        skills=skills,
        mean_output_tokens=output_tokens / len(answers),
    )
