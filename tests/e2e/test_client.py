"""What an application developer sees: the official openai client against real Serve and real engines."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from loadtest.server import REPOSITORY, Served
from router.config_file import load
from tests.support import said, sse_events

pytestmark = pytest.mark.engine
QUESTION: list[Any] = [{"role": "user", "content": "What is 17 plus 25?"}]
CONFIG = load(REPOSITORY / "configs" / "quickstart.yaml")
EXPERTS = set(CONFIG.answering)


@pytest.fixture
def client(served: Served) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0)


def ask(client: openai.OpenAI, **more: object) -> openai.types.chat.ChatCompletion:
    arguments: dict[str, object] = {"model": "auto", "messages": QUESTION, "temperature": 0, "max_tokens": 24}
    answer = client.chat.completions.create(**(arguments | more))  # type: ignore[call-overload]  # free-form
    assert isinstance(answer, openai.types.chat.ChatCompletion)
    return answer


def test_a_chat_completion_has_openais_shape(client: openai.OpenAI) -> None:
    """The client parses an answer with text, a finish reason and usage that adds up."""
    answer = ask(client)
    assert answer.object == "chat.completion"
    assert answer.model == "auto"
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason in ("stop", "length")
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0


def test_the_most_promising_expert_is_chosen_and_right(client: openai.OpenAI) -> None:
    """A capital is asked of the knowledge category; the answer is the capital."""
    capital = [{"role": "user", "content": "What is the capital of France?"}]
    answer = ask(client, messages=capital, extra_body={"symposium": {"explain": True}})
    route = answer.model_extra["symposium"] if answer.model_extra else {}
    assert route["category"] == "knowledge"
    assert route["skills"]["capitals"] > 0.5
    assert max(route["candidates"], key=lambda c: c["p_correct"])["expert"] in route["plan"]["experts"]
    assert answer.choices[0].message.content == "Paris"


def test_usage_is_the_sum_over_all_experts_called(client: openai.OpenAI) -> None:
    """A panel's usage is what its legs used together, and every candidate says why it was or was not taken."""
    answer = ask(client, model="panel", extra_body={"symposium": {"explain": True}})
    route = answer.model_extra["symposium"] if answer.model_extra else {}
    legs = {leg["expert"]: leg for leg in route["legs"]}
    assert legs.keys() == set(route["plan"]["experts"])
    assert {leg["outcome"] for leg in legs.values()} <= {"answered", "cut"}
    assert answer.usage is not None
    assert answer.usage.total_tokens == sum(leg["usage"]["total_tokens"] for leg in legs.values())
    assert {c["expert"] for c in route["candidates"]} == EXPERTS
    assert all(c["why"] for c in route["candidates"])
    voters = [name for answer in route["vote"]["answers"] for name in answer["experts"]]
    assert sorted(voters) == sorted(name for name, leg in legs.items() if leg["outcome"] == "answered")


@pytest.mark.parametrize("how", ["single", "vote", "consensus", "synthesize"])
@pytest.mark.parametrize("stream", [False, True])
def test_every_aggregator_makes_an_answer(served: Served, how: str, stream: bool) -> None:
    """Through the engines: one expert's own words, or one answer of three, and the capital is right each time."""
    body = {
        "model": "panel",
        "messages": [{"role": "user", "content": "What is the capital of France?"}],
        "temperature": 0,
        "stream": stream,
        "symposium": {"aggregate": how, "explain": True},
    }
    reply = httpx.post(f"{served.url}/v1/chat/completions", json=body, timeout=60)
    if stream:
        chunks = sse_events(reply)
        text, told = said(chunks), chunks[-1]["symposium"]
    else:
        text, told = reply.json()["choices"][0]["message"]["content"], reply.json()["symposium"]
    assert (text, told["aggregated"]) == ("Paris", how)
    roles = [leg["role"] for leg in told["legs"] if leg["outcome"] == "answered"]
    assert roles == {"single": ["answer"], "synthesize": ["answer"] * 3 + ["aggregator"]}.get(how, ["answer"] * 3)
    assert (told["answered_by"] == "aggregator") == (how == "synthesize")


def test_a_bare_completion_comes_from_the_engine(client: openai.OpenAI) -> None:
    """`/v1/completions`: whole and streamed the same text, OpenAI's object, usage that adds up."""
    wish: dict[str, Any] = {
        "model": "general",
        "prompt": "What is the capital of France?",
        "max_tokens": 8,
        "temperature": 0,
    }
    whole = client.completions.create(**wish)
    assert whole.object == "text_completion"
    assert whole.usage is not None
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens > 0
    parts = [chunk.choices[0].text for chunk in client.completions.create(stream=True, **wish) if chunk.choices]
    assert "".join(parts) == whole.choices[0].text


def test_the_keyword_adapter_names_the_skills(client: openai.OpenAI) -> None:
    """Asked through its engine five times at once; what it repeats becomes the question's skill, and its cost shows."""
    question = [{"role": "user", "content": "Spell the word lantern backwards."}]
    answer = ask(client, model="symbolic", messages=question, extra_body={"symposium": {"explain": True}})
    route = answer.model_extra["symposium"] if answer.model_extra else {}
    ((expert, said),) = [(leg["expert"], leg["said"]) for leg in route["asides"]]
    assert (expert, len(said)) == ("keywords", 5)
    assert (route["skills_from"], max(route["skills"], key=route["skills"].get)) == ("keywords", "reversal")
    assert answer.usage is not None
    assert answer.usage.total_tokens == sum(leg["usage"]["total_tokens"] for leg in route["legs"])


def test_the_route_is_watched_as_it_happens(served: Served) -> None:
    """`symposium ask` against the running system: category, skills, plan, each expert's end, the answer."""
    command = [str(Path(sys.executable).parent / "symposium"), "ask", "Spell the word tulip backwards.",
               "--model", "panel", "--url", served.url]  # fmt: skip
    shown = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    parts = ["category text", "skills", "reversal", "vote of", "answered in", "answer   by", "\nspent"]
    places = [shown.find(part) for part in parts]
    assert -1 not in places, shown
    assert places == sorted(places)


@pytest.mark.parametrize("model", ["fast", "panel", "general"])
def test_a_stream_says_what_the_whole_answer_says(client: openai.OpenAI, model: str) -> None:
    """At temperature 0 the deltas join to the text of the answer without streaming, and usage comes when asked."""
    whole = ask(client, model=model)
    chunks = list(
        client.chat.completions.create(
            model=model, messages=QUESTION, temperature=0, max_tokens=24, stream=True,
            stream_options={"include_usage": True},
        )
    )  # fmt: skip
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == whole.choices[0].message.content
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == whole.choices[0].finish_reason
    assert chunks[-1].usage == whole.usage
    assert {c.id for c in chunks} == {chunks[0].id}


def test_naming_an_expert_bypasses_routing(client: openai.OpenAI) -> None:
    """The named expert alone is asked, and nothing was classified."""
    raw = client.chat.completions.with_raw_response.create(
        model="time",
        messages=QUESTION,
        extra_body={"symposium": {"explain": True}},
    )
    assert raw.headers["x-symposium-experts"] == "time"
    route = raw.http_response.json()["symposium"]
    assert route["plan"]["reason"] == "named"
    assert route["category"] is None


def test_sampling_parameters_reach_the_engine(client: openai.OpenAI) -> None:
    """n, logprobs, stop, seed and max_tokens do what they do on the engine itself."""
    answer = ask(client, model="general", n=3, temperature=1.0, seed=5, logprobs=True, max_tokens=2)
    assert len(answer.choices) == 3
    assert all(c.logprobs is not None for c in answer.choices)
    assert answer.usage is not None
    assert answer.usage.completion_tokens <= 6
    extra = ask(client, model="general", max_tokens=7, extra_body={"ignore_eos": True})
    assert extra.usage is not None
    assert extra.usage.completion_tokens == 7


def test_unlike_anything_known_goes_to_the_general_expert(client: openai.OpenAI) -> None:
    """A question that resembles no skill is served by the general expert alone."""
    raw = client.chat.completions.with_raw_response.create(
        model="auto", messages=[{"role": "user", "content": "Write a sonnet about the sea at night."}]
    )
    assert raw.headers["x-symposium-experts"] == "general"
    assert "reason=unfamiliar" in raw.headers["x-symposium-plan"]


def test_models_lists_policies_and_experts(client: openai.OpenAI) -> None:
    """Every virtual model and every expert is listed and can be looked up."""
    assert {m.id for m in client.models.list()} == set(CONFIG.experts) | set(CONFIG.policies)
    assert len(EXPERTS) == 15
    assert client.models.retrieve("auto").id == "auto"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nobody")


@pytest.mark.parametrize(
    ("change", "status", "param"),
    [
        ({"model": "nobody"}, 404, "model"),
        ({"messages": []}, 400, "messages"),
        ({"messages": [{"role": "user"}]}, 400, "messages.0.content"),
        ({"n": 0}, 400, "n"),
        ({"n": 99}, 400, "n"),
        ({"max_tokens": -1}, 400, "max_tokens"),
        ({"max_tokens": 10**9}, 400, "max_tokens"),
        ({"max_tokens": "many"}, 400, "max_tokens"),
        ({"temperature": 9}, 400, "temperature"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, 400, "tools"),
        ({"messages": [{"role": "user", "content": "word " * 2000}]}, 400, "messages"),
        ({"priority": 1}, 400, "priority"),
        ({"chat_template": "{{ 1 }}"}, 400, "chat_template"),
        ({"logit_bias": {"not a token": 1}, "model": "math"}, 400, None),
    ],
)
def test_a_clients_mistake_is_named(served: Served, change: dict[str, object], status: int, param: str | None) -> None:
    """Bad input gets a 4xx in OpenAI's shape that names the parameter, and says not to try again."""
    body = {"model": "auto", "messages": QUESTION} | change
    response = httpx.post(f"{served.url}/v1/chat/completions", json=body, timeout=60)
    error = response.json()["error"]
    assert response.status_code == status, error
    if param is not None:
        assert error["param"] == param
    assert error["message"]
    assert error["type"] == "invalid_request_error"
    assert response.headers["x-should-retry"] == "false"


def test_health_and_readiness(served: Served) -> None:
    """/health, /ready, /version and /metrics answer; readiness means that engines answer."""
    assert httpx.get(f"{served.url}/health").json() == {"status": "ok"}
    assert httpx.get(f"{served.url}/ready").json() == {"ready": True}
    assert set(httpx.get(f"{served.url}/version").json()) == {"version", "config", "profiles"}
    assert "symposium_requests_total" in httpx.get(f"{served.url}/metrics").text
