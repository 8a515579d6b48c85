"""Small real records for the unit tests: what a test does not speak about is filled in here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from experts.spec import Expert
from router.profiles import Profile
from router.rates import Predicted, Rates, vector
from router.records import (
    Candidate,
    CategoryScores,
    Decision,
    JsonObject,
    Needs,
    Plan,
    Query,
    Reply,
    SkillScores,
    Ticket,
    Usage,
)

# Whatever a client can put into JSON: huge numbers, lone surrogates, nesting.
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**80), 2**80)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec=None), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
PRICE = {"input_usd_per_mtok": 1.0, "output_usd_per_mtok": 2.0}

# Two experts elsewhere: the smallest configuration that needs no file beside itself.
YAML = """\
version: 1
experts:
  ada:
    base_url: http://ada.test/v1
    model: ada-1
    context_tokens: 1000
    price: {input_usd_per_mtok: 1.0, output_usd_per_mtok: 2.0}
  bob:
    base_url: http://bob.test/v1
    model: bob-1
    context_tokens: 1000
    price: {input_usd_per_mtok: 1.0, output_usd_per_mtok: 2.0}
routing:
  fitted: fitted.npz
  profiles: profiles.json
  general_expert: ada
"""
# The same, and an engine of ours with its own model and an adapter on it.
HOSTED = YAML.replace(
    "experts:\n",
    """\
engines:
  gpu0: {model: org/base, accelerator: cpu}
experts:
  base: {engine: gpu0, context_tokens: 10, price: {input_usd_per_mtok: 1, output_usd_per_mtok: 1}}
  poet: {engine: gpu0, lora: org/poet, context_tokens: 10, price: {input_usd_per_mtok: 1, output_usd_per_mtok: 1}}
""",
)


def yaml_file(folder: Path, text: str = YAML) -> Path:
    """A configuration file with this text."""
    path = folder / "symposium.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def expert(**fields: Any) -> Expert:
    """An expert elsewhere."""
    known = {"base_url": "http://x.test/v1", "model": "m", "context_tokens": 1000, "price": PRICE}
    return Expert.model_validate(known | fields)


def query(*texts: str, **fields: Any) -> Query:
    """A user's query with one message per text."""
    said = texts or ("hi",)
    body = {"messages": [{"role": "user", "content": text} for text in said]}
    known: dict[str, Any] = {
        "request_id": "req_1",
        "model": "auto",
        "text": said[-1],
        "body": body,
        "needs": Needs(),
        "texts": said,
        "max_tokens": None,
    }
    return Query(**(known | fields))


def categories(
    probabilities: Mapping[str, float], *, confident: bool = True, familiar: bool | None = None
) -> CategoryScores:
    """Stage 1's result; the most probable category, or `general` when not confident: by default as unfamiliar."""
    best = max(probabilities, key=lambda name: probabilities[name])
    known = confident if familiar is None else familiar
    return CategoryScores(probabilities, best if confident else "general", confident, familiar=known)


def candidate(name: str, p_correct: float = 0.5, **fields: Any) -> Candidate:
    """An expert with ten observations that costs nothing."""
    known: dict[str, Any] = {"observations": 10, "usd_per_query": 0.0}
    return Candidate(name, p_correct, **(known | fields))


def choice(text: str | None, **fields: Any) -> JsonObject:
    """One of OpenAI's choices."""
    message = {"role": "assistant", "content": text}
    return {"index": 0, "message": message, "finish_reason": "stop"} | fields


def reply(name: str, text: str, **fields: Any) -> Reply:
    """An expert's answer in 10 + 5 tokens and half a second."""
    known: dict[str, Any] = {"choices": (choice(text),), "usage": Usage(10, 5), "seconds": 0.5}
    return Reply(name, f"leg-{name}", **(known | fields))


def decision(**fields: Any) -> Decision:
    """A routed query: `ada` is asked, `bob` could step in, `cy` is down."""
    known: dict[str, Any] = {
        "query": query(),
        "ticket": Ticket("anonymous", 0.0),
        "config_version": "abc",
        "policy": "auto",
        "plan": Plan((("ada",),), "single", ("bob",), "sure"),
        "categories": categories({"math": 0.75, "text": 0.25}),
        "skills": SkillScores({"sums": 1.0}, ("sums", 0.5)),
        "candidates": (
            candidate("ada", 0.9),
            candidate("bob", 0.6, p_spread=0.1, observations=0, evidence="pool"),
            candidate("cy", 0.8, excluded="down"),
        ),
        "overhead_s": 0.002,
    }
    return Decision(**(known | fields))


def predicted(
    profiles: Mapping[str, Profile], scores: CategoryScores, skills: SkillScores, strength: float
) -> tuple[Rates, Predicted]:
    """The rates of some profiles, and what they predict of one question."""
    rates = Rates.of(profiles, strength)
    return rates, rates.predict(vector(rates.categories, scores.probabilities), vector(rates.skills, skills.weights))
