"""Recorded experts over real HTTP: uvicorn on a free port, the official client, httpx for the wire."""

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import openai
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uvicorn
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from experts.recorded import Answer, AnswerBook, Behaviour, build_app

PATIENCE_S = 30.0
PATH = "/v1/chat/completions"
QUESTION = "What is 6 × 7?\nAnswer with a number."
ANSWER = "Six times seven — as everyone knows — is 42. ✓"
ROWS = [
    (QUESTION, "sage", ANSWER, 12),
    ("Who wrote Faust?", "sage", "Goethe did.", 4),
    (QUESTION, "fool", "41, surely.", 5),
]


class Running:
    """A served book: its address, and ways to ask it."""

    def __init__(self, url: str, http: httpx.Client) -> None:
        self.url, self.http = url, http

    @contextmanager
    def openai(self, key: str = "none") -> Iterator[openai.OpenAI]:
        with openai.OpenAI(
            base_url=f"{self.url}/v1", api_key=key, max_retries=0, timeout=PATIENCE_S
        ) as client:
            yield client

    def post(self, body: object) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.http.post(PATH, content=content)

    def counts(self, model: str = "sage") -> dict[str, int]:
        found: dict[str, int] = self.http.get("/internal/legs").json()[model]
        return found

    def hang_up_on(self, body: object) -> None:
        """Asks, and closes the connection as soon as the leg runs."""
        port, content = httpx.URL(self.url).port, json.dumps(body).encode()
        with socket.create_connection(("127.0.0.1", port or 80)) as line:
            head = f"POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(content)}\r\n\r\n"
            line.sendall(head.encode() + content)
            eventually(lambda: self.counts()["running"] == 1)


@contextmanager
def serving(behaviours: Mapping[str, Behaviour], api_key: str | None = None) -> Iterator[Running]:
    app = build_app(AnswerBook.from_rows(ROWS), behaviours, api_key=api_key)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(
            uvicorn.Config(app, log_level="critical", ws="none", timeout_graceful_shutdown=1)
        )
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        try:
            eventually(lambda: server.started)
            with httpx.Client(base_url=url, timeout=PATIENCE_S) as http:
                yield Running(url, http)
        finally:
            server.should_exit = True
            thread.join(PATIENCE_S)


def eventually(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def ask(question: Any = QUESTION, model: Any = "sage", **options: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": question}], **options}


def events(response: httpx.Response) -> list[dict[str, Any]]:
    """The chunks of a stream that must end in [DONE]."""
    *data, done, rest = response.text.split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    return [json.loads(line.removeprefix("data: ")) for line in data]


def said(chunks: list[dict[str, Any]]) -> str:
    return "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks if chunk["choices"])


@pytest.fixture(scope="module")
def plain() -> Iterator[Running]:
    with serving({}) as running:
        yield running


# Matching


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
def test_a_bad_request_is_a_400_that_names_the_parameter(
    plain: Running, body: object, param: str | None
) -> None:
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


# Streams and lengths


def test_a_stream_says_the_same_as_the_whole_answer(plain: Running) -> None:
    """A stream is role, one piece per token, finish reason, [DONE]; its pieces join to the recorded text."""
    chunks = events(plain.post(ask(stream=True)))
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
    chunks = events(plain.post(ask(stream=True, stream_options=options)))
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
    chunks = events(plain.post(ask(stream=True, **{limit: 5})))
    assert said(chunks) == text
    assert chunks[-1]["choices"][0]["finish_reason"] == "length"
    assert plain.post(ask(**{limit: 12})).json()["choices"][0]["finish_reason"] == "stop"


@settings(deadline=None, derandomize=True)
@given(st.text(), st.integers(1, 60), st.integers(1, 9))
def test_pieces_join_to_the_text(text: str, tokens: int, chunk: int) -> None:
    """However an answer is cut into chunks of tokens, no character is lost or doubled."""
    answer = Answer("q", text, tokens)
    ends = [*range(0, tokens, chunk), tokens]
    assert "".join(map(answer.piece, ends, ends[1:])) == text


def test_tokens_per_chunk_makes_fewer_larger_events() -> None:
    """Several tokens may share one event; the text stays whole."""
    with serving({"sage": Behaviour(tokens_per_chunk=5)}) as running:
        chunks = events(running.post(ask(stream=True)))
    assert said(chunks) == ANSWER
    assert len(chunks) == 1 + 3 + 1


# Behaviours


def test_delays_are_kept_and_change_no_word() -> None:
    """The first token takes ttft_s, each further one 1 / tokens_per_s; what is said stays the same."""
    pace = Behaviour(ttft_s=0.05, tokens_per_s=100)
    assert [pace.due_s(tokens) for tokens in (0, 1, 11)] == pytest.approx([0.05, 0.05, 0.15])
    with serving({"sage": pace}) as running:
        for stream in (False, True):
            begun_s = time.monotonic()
            reply = running.post(ask(stream=stream))
            assert time.monotonic() - begun_s > 0.9 * pace.due_s(12)
            text = said(events(reply)) if stream else reply.json()["choices"][0]["message"]["content"]
            assert text == ANSWER


def test_a_paced_stream_comes_piece_by_piece() -> None:
    """A token that is due is on the wire before the next one is waited for."""
    slow = Behaviour(tokens_per_s=0.001)
    with serving({"sage": slow}) as running:
        with running.http.stream("POST", PATH, json=ask(stream=True)) as reply:
            lines = (line for line in reply.iter_lines() if line)
            first = [json.loads(next(lines).removeprefix("data: ")) for _ in range(2)]
        eventually(lambda: running.counts()["aborted"] == 1)
        assert said(first) == ANSWER[: len(ANSWER) // 12]
        assert running.counts()["output_tokens"] == 1


@pytest.mark.parametrize("options", [{}, {"stream": True}])
def test_a_failing_expert_answers_its_status(options: dict[str, object]) -> None:
    """fail_always answers every question with the configured status in OpenAI's shape, also to a stream."""
    with serving({"sage": Behaviour(fail_always=True, fail_status=503)}) as running:
        with running.openai() as client, pytest.raises(openai.InternalServerError) as caught:
            client.chat.completions.create(**ask(**options))
        assert caught.value.status_code == 503
        assert caught.value.code == "configured_failure"
        assert running.counts()["failed"] == 1
        assert running.post(ask(model="fool")).status_code == 200


def test_a_share_of_questions_fails_and_always_the_same() -> None:
    """fail_rate draws by seed, model and question: the share is right, a repeat agrees, a new seed not."""

    def fates(seed: int, model: str = "m") -> list[tuple[float, bool, bool]]:
        behaviour = Behaviour(seed=seed, fail_rate=0.3, fault_rate=0.6, jitter=0.5)
        return [behaviour.fate(model, f"question {number}") for number in range(2000)]

    delays, fails, faults = zip(*fates(7), strict=True)
    assert 0.25 < sum(fails) / 2000 < 0.35
    assert 0.55 < sum(faults) / 2000 < 0.65
    assert 0.5 <= min(delays) < 0.55
    assert 1.45 < max(delays) <= 1.5
    assert fates(7) == fates(7)
    assert fates(7) != fates(8)
    assert fates(7) != fates(7, "other")
    assert Behaviour().fate("m", "q") == (1, False, True)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("after", [0, 3, 12])
def test_a_stall_sends_something_and_then_nothing(stream: bool, after: int) -> None:
    """A stalled leg runs, having sent its tokens, until the client goes; then it is counted as aborted."""
    with serving({"sage": Behaviour(stall_after_tokens=after)}) as running:
        got = b""
        with running.http.stream("POST", PATH, json=ask(stream=stream)) as reply:
            blocks = reply.iter_raw()
            while stream and got.count(b"data: ") < 1 + after:
                got += next(blocks)
            counts = running.counts()
            assert (counts["running"], counts["aborted"]) == (1, 0)
        eventually(lambda: running.counts()["aborted"] == 1)
        counts = running.counts()
        assert (counts["started"], counts["running"], counts["output_tokens"]) == (1, 0, after)
        assert b"[DONE]" not in got


@pytest.mark.parametrize("stream", [False, True])
def test_a_drop_cuts_the_connection(stream: bool) -> None:
    """drop_after_tokens ends the connection inside the answer: no client takes it for a whole one."""
    with serving({"sage": Behaviour(drop_after_tokens=3)}) as running:
        with pytest.raises(httpx.RemoteProtocolError):
            running.post(ask(stream=stream))
        eventually(lambda: running.counts()["failed"] == 1)
        assert running.counts()["output_tokens"] == 3
        assert running.post(ask("Who wrote Faust?", max_tokens=2)).status_code == 200


@pytest.mark.parametrize("stream", [False, True])
def test_garbage_is_as_long_as_configured_and_no_answer(stream: bool) -> None:
    """Garbage has status 200, the configured size and nothing to be taken for an answer."""
    size = 50 * 1024 * 1024
    with serving({"sage": Behaviour(garbage_bytes=size)}) as running:
        reply = running.post(ask(stream=stream))
        assert (reply.status_code, len(reply.content)) == (200, size)
        with pytest.raises(UnicodeDecodeError):
            reply.content[:100].decode()
        counts = running.counts()
        assert (counts["failed"], counts["finished"], counts["output_tokens"]) == (1, 0, 0)


def test_garbage_stops_when_the_client_goes() -> None:
    """A client that reads a part of the garbage and leaves ends the leg as aborted."""
    with serving({"sage": Behaviour(garbage_bytes=50 * 1024 * 1024)}) as running:
        with running.http.stream("POST", PATH, json=ask()) as reply:
            assert next(reply.iter_raw())
        eventually(lambda: running.counts()["aborted"] == 1)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("behaviour", [Behaviour(ttft_s=3600), Behaviour(tokens_per_s=0.001)])
def test_a_client_that_goes_stops_the_leg(stream: bool, behaviour: Behaviour) -> None:
    """A disconnect before or between tokens ends the leg, which is counted as aborted and runs no more."""
    with serving({"sage": behaviour}) as running:
        running.hang_up_on(ask(stream=stream))
        eventually(lambda: running.counts()["aborted"] == 1)
        counts = running.counts()
        assert (counts["started"], counts["running"], counts["finished"]) == (1, 0, 0)
        assert counts["output_tokens"] == (0 if behaviour.ttft_s else 1)


@pytest.mark.parametrize(
    "fields",
    [
        {"ttft": 1},
        {"ttft_s": -1},
        {"ttft_s": float("inf")},
        {"tokens_per_s": 0},
        {"fail_rate": 1.1},
        {"fail_status": 200},
        {"garbage_bytes": 51 * 1024 * 1024},
        {"stall_after_tokens": 0, "drop_after_tokens": 0},
        {"stall_after_tokens": 1, "garbage_bytes": 1},
    ],
)
def test_a_behaviour_that_means_nothing_is_refused(fields: dict[str, Any]) -> None:
    """Unknown keys, impossible values and two faults at once are refused, not guessed at."""
    with pytest.raises(ValidationError):
        Behaviour(**fields)


# The book, the other endpoints, the command


def test_a_book_reads_parquet_with_its_own_column_names(tmp_path: Path) -> None:
    """Files with other names, other string types and more columns make one book; the first of a pair wins."""
    model = pa.array(["sage", "fool", "sage"]).dictionary_encode()
    texts = {"question": ["q", "q", "q"], "answer_text": ["first", "", "second"]}
    pq.write_table(
        pa.table({**texts, "model": model, "out_tokens": [0, 0, 3], "x": [1, 2, 3]}), tmp_path / "a"
    )
    more = {"question": ["p"], "answer_text": ["é"], "model": ["seer"], "out_tokens": [2]}
    pq.write_table(pa.table(more), tmp_path / "b")
    columns = {"answer": "answer_text", "output_tokens": "out_tokens"}
    book = AnswerBook.from_parquet([tmp_path / "a", tmp_path / "b"], columns)
    assert book.models == ("sage", "fool", "seer")
    assert book.find("sage", "q") == Answer("q", "first", 1)
    assert book.find("fool", "q") == Answer("q", "", 1)
    assert book.find("seer", "p") == Answer("p", "é", 2)
    assert book.find("seer", "q") is None
    with pytest.raises(KeyError, match="answer"):
        AnswerBook.from_parquet(tmp_path / "a")


def test_a_book_with_holes_is_refused() -> None:
    """Empty cells and negative token counts are errors of the recording, never served."""
    for row in [("q", "m", None, 1), ("q", None, "a", 1), (None, "m", "a", 1), ("q", "m", "a", -1)]:
        with pytest.raises(ValueError, match="empty cells"):
            AnswerBook.from_rows([row])  # type: ignore[list-item]
    assert AnswerBook.from_rows([]).models == ()


def test_behaviours_belong_to_models_of_the_book() -> None:
    """A behaviour for a model that is not there is a typing error; '*' stands for all without their own."""
    with pytest.raises(ValueError, match="sgae"):
        build_app(AnswerBook.from_rows(ROWS), {"sgae": Behaviour()})
    with serving({"*": Behaviour(fail_always=True), "fool": Behaviour()}) as running:
        assert running.post(ask()).status_code == 500
        assert running.post(ask(model="fool")).status_code == 200


def test_the_models_of_the_book_are_listed(plain: Running) -> None:
    """GET /v1/models lists exactly the book's models, as the official client expects."""
    with plain.openai() as client:
        assert [model.id for model in client.models.list()] == ["sage", "fool"]
    assert plain.http.get("/v1/nothing").json()["error"]["type"] == "invalid_request_error"
    assert plain.http.get(PATH).status_code == 404


def test_with_a_key_only_health_is_open() -> None:
    """With a key, everything but /health answers 401 to whoever does not send exactly that key."""
    with serving({}, "secret-1") as running:
        assert running.http.get("/health").status_code == 200
        assert running.http.get("/internal/legs").status_code == 401
        for key in ("secret-2", "secret-11", "secret-", "ä"):
            header = {b"authorization": f"Bearer {key}".encode()}
            assert running.http.get("/v1/models", headers=header).status_code == 401
        with running.openai("wrong") as client, pytest.raises(openai.AuthenticationError):
            client.chat.completions.create(**ask())
        with running.openai("secret-1") as client:
            assert client.chat.completions.create(**ask()).usage.completion_tokens == 12


def test_legs_add_up() -> None:
    """started = running + finished + failed + aborted, per model; refused requests are no legs."""
    with serving({"fool": Behaviour(fail_always=True)}) as running:
        for stream in (False, True, False):
            running.post(ask(stream=stream))
            running.post(ask(model="fool", stream=stream))
            running.post(ask("never asked"))
        ends = {"running": 0, "aborted": 0}
        assert running.counts() == {"started": 3, "finished": 3, "failed": 0, "output_tokens": 36, **ends}
        assert running.counts("fool") == {
            "started": 3,
            "finished": 0,
            "failed": 3,
            "output_tokens": 0,
            **ends,
        }


def test_the_command_serves_a_parquet_file(tmp_path: Path) -> None:
    """python -m experts.recorded serves a file, with behaviours from YAML; unknown keys are refused."""
    book, yaml = tmp_path / "book.parquet", tmp_path / "behaviours.yaml"
    rows = zip(*ROWS, strict=True)
    pq.write_table(
        pa.table(dict(zip(("question", "model", "said", "output_tokens"), rows, strict=True))), book
    )
    yaml.write_text("fool: {fail_always: true, fail_status: 429}\n")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    files = ["--book", str(book), "--column", "answer=said", "--behaviours", str(yaml)]
    command = [sys.executable, "-m", "experts.recorded", *files, "--port", str(port)]
    url = f"http://127.0.0.1:{port}"
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            eventually(lambda: answers(f"{url}/health"))
            reply = httpx.post(url + PATH, json=ask(), timeout=PATIENCE_S)
            assert reply.json()["choices"][0]["message"]["content"] == ANSWER
            assert httpx.post(url + PATH, json=ask(model="fool"), timeout=PATIENCE_S).status_code == 429
        finally:
            process.terminate()
    yaml.write_text("fool: {fail_allways: true}\n")
    refused = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    assert refused.returncode == 2
    assert "fail_allways" in refused.stderr


def answers(url: str) -> bool:
    try:
        return httpx.get(url).is_success
    except httpx.TransportError:
        return False
