"""Recorded experts over real HTTP: which answer is meant, what is refused, streams and lengths."""

from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experts.recorded_book import Answer, Behaviour
from tests.experts.recorded_world import ANSWER, QUESTION, Running, ask, serving
from tests.support import said, sse_events


@pytest.fixture(scope="module")
def plain() -> Iterator[Running]:
    with serving({}) as running:
        yield running


def test_a_recorded_question_gets_the_recorded_answer_and_tokens(plain: Running) -> None:
    """The answer's text and tokens are the recorded ones; prompt tokens are bytes / 4, rounded up."""
    with plain.openai() as client:
        reply = client.chat.completions.create(**ask())
    assert (reply.model, reply.object) == ("sage", "chat.completion")
    assert (reply.choices[0].message.role, reply.choices[0].message.content) == ("assistant", ANSWER)
    assert reply.choices[0].finish_reason == "stop"
    prompt = -(-len(QUESTION.encode()) // 4)
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (prompt, 12)
    assert reply.usage.total_tokens == prompt + 12


@pytest.mark.parametrize(
    "messages",
    [
        [("system", "Be brief."), ("user", QUESTION)],
        [("user", QUESTION), ("user", "Think step by step.")],
        [("user", "Who wrote Faust?"), ("assistant", "Goethe did."), ("user", QUESTION)],
        [("user", QUESTION), ("assistant", "Who wrote Faust?"), ("tool", "Who wrote Faust?")],
        [("user", [{"type": "text", "text": QUESTION}])],
        [("user", [{"type": "text", "text": line} for line in QUESTION.split("\n")])],
    ],
)
def test_the_newest_message_that_is_a_recorded_question_counts(
    plain: Running, messages: list[tuple[str, object]]
) -> None:
    """The question may stand anywhere in the chat as one whole message, but not in the expert's own words."""
    chat = [{"role": role, "content": content} for role, content in messages]
    reply = plain.post({"model": "sage", "messages": chat}).json()
    assert reply["choices"][0]["message"]["content"] == ANSWER


@pytest.mark.parametrize(
    ("question", "model"),
    [
        (QUESTION + " ", "sage"),
        (QUESTION.lower(), "sage"),
        (f"Question: {QUESTION}", "sage"),
        ("Who wrote Faust?", "fool"),
        ([{"type": "text", "text": QUESTION}, {"type": "image_url", "image_url": {"url": "x"}}], "sage"),
        (None, "sage"),
    ],
)
def test_anything_else_is_not_recorded(plain: Running, question: object, model: str) -> None:
    """A question that is not recorded for that model, byte for byte, is a 404 in OpenAI's shape."""
    reply = plain.post(ask(question, model))
    assert reply.status_code == 404
    error = reply.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["code"], error["param"]) == ("question_not_recorded", "messages")


def test_an_unknown_model_is_not_found(plain: Running) -> None:
    """The official client sees a model that is not in the book as NotFoundError, code model_not_found."""
    with plain.openai() as client, pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(**ask(model="nobody"))
    assert caught.value.code == "model_not_found"
    assert caught.value.param == "model"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"not JSON", None),
        (b'{"model": "sage\\ud800"}', None),
        (b"", None),
        ([], None),
        ({"messages": [{"role": "user", "content": QUESTION}]}, "model"),
        (ask(model=7), "model"),
        ({"model": "sage"}, "messages"),
        ({"model": "sage", "messages": []}, "messages"),
        ({"model": "sage", "messages": ["hello"]}, "messages"),
        (ask(n=2), "n"),
        (ask(max_tokens=0), "max_tokens"),
        (ask(max_completion_tokens="9"), "max_completion_tokens"),
        (ask(stream="yes"), "stream"),
        (ask(stream_options={"include_usage": True}), "stream_options"),
        (ask(stream=True, stream_options={"include_usage": "yes"}), "stream_options"),
    ],
)
def test_a_bad_request_is_a_400_that_names_the_parameter(plain: Running, body: object, param: str | None) -> None:
    """A client's mistake is a 400 in OpenAI's shape, never a 500, and starts no leg."""
    before = plain.counts()
    reply = plain.post(body)
    assert reply.status_code == 400, reply.text
    assert (reply.json()["error"]["type"], reply.json()["error"]["param"]) == ("invalid_request_error", param)
    assert plain.counts() == before


def test_an_endless_request_is_refused(plain: Running) -> None:
    """A request over 16 MiB is refused with 413 instead of being kept in memory."""
    assert plain.post(b" " * (16 * 1024 * 1024 + 1)).status_code == 413


def test_sampling_parameters_are_accepted(plain: Running) -> None:
    """Parameters that a recorded answer cannot obey change nothing."""
    reply = plain.post(ask(temperature=0.3, top_p=1, seed=4, n=1, stop=["4"], user="u", max_tokens=None))
    assert reply.json()["choices"][0]["message"]["content"] == ANSWER


def test_a_stream_says_the_same_as_the_whole_answer(plain: Running) -> None:
    """A stream is role, one piece per token, finish reason, [DONE]; its pieces join to the recorded text."""
    chunks = sse_events(plain.post(ask(stream=True)))
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert said(chunks) == ANSWER
    assert len(chunks) == 1 + 12 + 1
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None] * 13 + ["stop"]
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert not any("usage" in chunk for chunk in chunks)


def test_the_official_client_reads_the_stream_with_its_usage(plain: Running) -> None:
    """include_usage adds one last chunk without choices, with the same usage as the whole answer has."""
    with plain.openai() as client:
        whole = client.chat.completions.create(**ask())
        options = {"include_usage": True}
        chunks = list(client.chat.completions.create(**ask(stream=True, stream_options=options)))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert (chunks[-1].choices, chunks[-1].usage) == ([], whole.usage)
    assert all(chunk.usage is None for chunk in chunks[:-1])


def test_continuous_usage_counts_up(plain: Running) -> None:
    """continuous_usage_stats puts the tokens so far into every chunk."""
    options = {"include_usage": True, "continuous_usage_stats": True}
    chunks = sse_events(plain.post(ask(stream=True, stream_options=options)))
    tokens = [chunk["usage"]["completion_tokens"] for chunk in chunks]
    assert tokens == [0, *range(1, 13), 12, 12]


@pytest.mark.parametrize("limit", ["max_tokens", "max_completion_tokens"])
def test_a_token_limit_shortens_the_answer(plain: Running, limit: str) -> None:
    """A limit below the recorded tokens cuts text and usage, streamed or not, with finish reason length."""
    whole = plain.post(ask(**{limit: 5})).json()
    assert whole["choices"][0]["finish_reason"] == "length"
    assert whole["usage"]["completion_tokens"] == 5
    text = whole["choices"][0]["message"]["content"]
    assert 0 < len(text) < len(ANSWER)
    assert ANSWER.startswith(text)
    chunks = sse_events(plain.post(ask(stream=True, **{limit: 5})))
    assert said(chunks) == text
    assert chunks[-1]["choices"][0]["finish_reason"] == "length"
    assert plain.post(ask(**{limit: 12})).json()["choices"][0]["finish_reason"] == "stop"


@given(st.text(), st.integers(1, 60), st.integers(1, 9))
def test_pieces_join_to_the_text(text: str, tokens: int, chunk: int) -> None:
    """However an answer is cut into chunks of tokens, no character is lost or doubled."""
    answer = Answer("q", text, tokens)
    ends = [*range(0, tokens, chunk), tokens]
    assert "".join(map(answer.piece, ends, ends[1:])) == text


def test_tokens_per_chunk_makes_fewer_larger_events() -> None:
    """Several tokens may share one event; the text stays whole."""
    with serving({"sage": Behaviour(tokens_per_chunk=5)}) as running:
        chunks = sse_events(running.post(ask(stream=True)))
    assert said(chunks) == ANSWER
    assert len(chunks) == 1 + 3 + 1
