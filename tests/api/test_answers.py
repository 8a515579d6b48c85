"""What a client gets: one expert's words, a vote's winner, the usage of all, and the reasons on request."""

from __future__ import annotations

import openai
import pytest

from tests.api.world import ODD, SUM, WHO, World, ask
from tests.support import said, sse_events

PROMPT_TOKENS = -(-len(SUM) // 4)  # as recorded experts count


def test_one_expert_passes_through(world: World, client: openai.OpenAI) -> None:
    """A plan of one gives that expert's own text, finish reason and usage under the asked model's name."""
    reply = client.chat.completions.create(**ask("solo"))
    assert (reply.model, reply.object) == ("solo", "chat.completion")
    assert reply.id.startswith("chatcmpl-req_")
    (choice,) = reply.choices
    assert (choice.message.role, choice.message.content) == ("assistant", "The answer is 13.")
    assert choice.finish_reason == "stop"
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (PROMPT_TOKENS, 6)
    assert reply.usage.total_tokens == PROMPT_TOKENS + 6


def test_one_expert_streams_through(world: World, client: openai.OpenAI) -> None:
    """A stream of one expert joins to its text; one head in every chunk; usage only when asked for."""
    chunks = list(client.chat.completions.create(**ask("solo", stream=True)))
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == "The answer is 13."
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [c.choices[0].finish_reason for c in chunks if c.choices[0].finish_reason] == ["stop"]
    assert {(c.id, c.model, c.created) for c in chunks} == {(chunks[0].id, "solo", chunks[0].created)}
    assert all(c.usage is None for c in chunks)


@pytest.mark.parametrize(("model", "completion"), [("solo", 6), ("auto", 10)])
def test_a_stream_ends_with_its_usage_when_asked(client: openai.OpenAI, model: str, completion: int) -> None:
    """include_usage adds one last chunk without choices, with the usage of all experts, and nothing elsewhere."""
    options = {"include_usage": True}
    *chunks, last = client.chat.completions.create(**ask(model, stream=True, stream_options=options))
    assert last.choices == []
    assert last.usage.completion_tokens == completion
    assert all(chunk.usage is None for chunk in chunks)


def test_a_vote_returns_the_winner_s_own_words(client: openai.OpenAI) -> None:
    """Of three answers the majority's wins, in the words of its most trusted supporter; usage sums over all."""
    reply = client.chat.completions.create(**ask("auto"))
    assert reply.choices[0].message.content == "The answer is 13."
    assert reply.usage.completion_tokens == 6 + 1 + 3
    assert reply.usage.prompt_tokens == 3 * PROMPT_TOKENS


def test_a_vote_streams_as_its_winner(world: World) -> None:
    """A streamed vote says exactly what the whole answer says, role first, finish reason last."""
    chunks = sse_events(world.post(ask("auto", stream=True)))
    assert said(chunks) == "The answer is 13."
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"


def test_the_reasons_of_a_vote(world: World) -> None:
    """explain shows category scores, skills, every candidate with why, the plan, and how the vote went."""
    why = world.explained("auto")
    assert (why["policy"], why["category"]) == ("auto", "sums")
    assert list(why["categories"]) == ["sums", "people"]
    assert sum(why["categories"].values()) == pytest.approx(1, abs=0.001)
    assert why["skills"] == {"addition": 1.0}
    candidates = {c["expert"]: (c["taken"], c["why"]) for c in why["candidates"]}
    assert candidates == {
        "ant": (True, "convened"),
        "bee": (True, "convened"),
        "cat": (True, "convened"),
        "dog": (False, "ranked_lower"),
        "gone": (False, "down"),
    }
    scores = [c["p_correct"] for c in why["candidates"] if c["expert"] != "gone"]
    assert scores == sorted(scores, reverse=True)
    assert all(c["observations"] == 100 and c["usd_per_query"] > 0 for c in why["candidates"])
    planned = {
        "experts": ["ant", "bee", "cat"],
        "waves": [["ant", "bee", "cat"]],
        "aggregator": "vote",
        "spares": ["dog"],
        "reason": "convened",
        "degraded": "none",
    }
    assert why["plan"].items() >= planned.items()
    assert why["answered_by"] == "ant"
    assert why["vote"]["answers"] == [
        {"answer": "13", "experts": ["ant", "bee"]},
        {"answer": "14", "experts": ["cat"]},
    ]
    assert why["vote"]["share"] == pytest.approx(2 / 3, abs=0.001)
    assert 0.5 < why["vote"]["posterior"] < 0.9


@pytest.mark.parametrize("model", ["solo", "auto"])
def test_the_last_chunk_carries_the_reasons(world: World, model: str) -> None:
    """In a stream only the last chunk, without choices, explains; usage joins it there when asked for."""
    body = ask(model, stream=True, symposium={"explain": True}, stream_options={"include_usage": True})
    *chunks, last = sse_events(world.post(body))
    assert (last["choices"], last["symposium"]["answered_by"]) == ([], "ant")
    assert last["usage"]["completion_tokens"] > 0
    assert not any("symposium" in chunk for chunk in chunks)


@pytest.mark.parametrize("stream", [False, True])
def test_every_answer_says_what_it_cost(world: World, stream: bool) -> None:
    """Each leg with its tokens, time and price, and the sum; the reasons only on request."""
    reply = world.post(ask("auto", stream=stream, **({"stream_options": {"include_usage": True}} if stream else {})))
    last = sse_events(reply)[-1] if stream else reply.json()
    told = last["symposium"]
    assert (told["aggregated"], told["why"]) == ("vote", "vote")
    assert "plan" not in told
    tokens = {leg["expert"]: leg["usage"]["completion_tokens"] for leg in told["legs"]}
    assert tokens == {"ant": 6, "bee": 1, "cat": 3}
    for leg in told["legs"]:
        price = PROMPT_TOKENS * 1e-6 + leg["usage"]["completion_tokens"] * 2e-6
        assert (leg["role"], leg["outcome"], leg["cost_usd"]) == ("answer", "answered", pytest.approx(price))
        assert 0 <= leg["first_token_s"] <= leg["seconds"]
    assert told["cost_usd"] == pytest.approx(sum(leg["cost_usd"] for leg in told["legs"]))
    if not stream:
        assert float(reply.headers["x-symposium-cost-usd"]) == pytest.approx(told["cost_usd"])


def test_a_stream_without_any_wish_has_words_only(world: World) -> None:
    """No chunk without choices: clients that expect none get none."""
    assert all(chunk["choices"] for chunk in sse_events(world.post(ask("auto", stream=True))))


def test_a_sure_expert_answers_alone(world: World) -> None:
    """Where the best candidate's measured record is good enough, nobody else is asked."""
    why = world.explained("auto", WHO)
    assert (why["plan"]["reason"], why["plan"]["experts"]) == ("sure", ["ant"])
    assert (why["category"], why["vote"]) == ("people", None)


def test_a_question_unlike_any_known_goes_to_the_general_expert(world: World) -> None:
    """Resembling no skill means category general and the general expert, visibly."""
    before = world.metric("symposium_unknown_skill_total")
    why = world.explained("auto", ODD)
    assert (why["category"], why["skills"], why["plan"]["reason"]) == ("general", {}, "unfamiliar")
    assert why["answered_by"] == "cat"
    assert why["nearest_skill"][0] in ("addition", "authors")
    assert world.metric("symposium_unknown_skill_total") == before + 1


@pytest.mark.parametrize("stream", [False, True])
def test_naming_an_expert_bypasses_routing(world: World, stream: bool) -> None:
    """An expert's own name as model asks exactly that one, classifies nothing and says so."""
    body = ask("dog", stream=stream, symposium={"explain": True})
    reply = world.post(body)
    answer = sse_events(reply)[-1] if stream else reply.json()
    why = answer["symposium"]
    assert (why["policy"], why["category"], why["candidates"]) == ("expert", None, [])
    assert (why["plan"]["experts"], why["plan"]["spares"], why["plan"]["reason"]) == (["dog"], [], "named")
    assert reply.headers["x-symposium-experts"] == "dog"


@pytest.mark.parametrize("stream", [False, True])
def test_headers_name_experts_plan_and_overhead(world: World, stream: bool) -> None:
    """Every answer's headers say who answered, what was planned, by which configuration and at what overhead."""
    headers = world.post(ask("auto", stream=stream)).headers
    assert headers["x-symposium-experts"] == "ant,bee,cat"
    assert headers["x-symposium-plan"] == "vote;reason=convened;asked=ant,bee,cat"
    assert headers["x-symposium-config"] == world.http.get("/version").json()["config"]
    assert headers["x-symposium-decision-id"].startswith("req_")
    assert 0 <= float(headers["x-symposium-overhead-ms"]) < 30_000


def test_sampling_parameters_reach_the_expert(client: openai.OpenAI) -> None:
    """What the router does not need passes through unchanged: max_tokens shortens the expert's answer."""
    reply = client.chat.completions.create(**ask("ant", max_tokens=2, temperature=0.3, seed=7, stop=["x"], user="u"))
    assert (reply.usage.completion_tokens, reply.choices[0].finish_reason) == (2, "length")


def test_several_samples_are_not_voted_on(world: World) -> None:
    """n > 1 goes to one expert, whose own refusal names the parameter (recorded experts know one answer)."""
    reply = world.post(ask("auto", n=2))
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "n")


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "system", "content": "Be brief."}, {"role": "user", "content": SUM}],
        [{"role": "user", "content": [{"type": "text", "text": SUM}]}],
        [
            {"role": "user", "content": WHO},
            {"role": "assistant", "content": None, "tool_calls": []},
            {"role": "user", "content": SUM},
        ],
    ],
)
def test_the_newest_user_message_is_classified(world: World, messages: list[dict[str, object]]) -> None:
    """Whatever stands before it, and in whichever form, the last user message decides the route."""
    reply = world.post({"model": "auto", "messages": messages, "symposium": {"explain": True}}).json()
    assert reply["symposium"]["category"] == "sums"
    assert reply["choices"][0]["message"]["content"] == "The answer is 13."
