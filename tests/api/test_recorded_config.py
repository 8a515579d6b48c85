"""configs/recorded.yaml as its first lines say: the command that serves the book, and a router in front of it."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pyarrow.parquet as pq
import pytest

from router.api.app import build_app
from router.config import Config
from router.config_file import load
from router.opening import at, open_service
from tests.support import eventually, http_client, on_a_port, openai_client

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
BOOK = CONFIGS / "recorded" / "book.parquet"
QUESTIONS = [json.loads(line) for line in (CONFIGS / "recorded" / "questions.jsonl").read_text().splitlines()]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def experts() -> Iterator[str]:
    """The documented command on a free port; its URL."""
    url = f"http://127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "experts.recorded", "--book", str(BOOK), "--port", url.rsplit(":", 1)[1]]
    with subprocess.Popen(command, cwd=CONFIGS.parent) as process, http_client(url) as http:
        try:
            eventually(lambda: answers(http))
            yield url
        finally:
            process.terminate()


def answers(http: httpx.Client) -> bool:
    try:
        return http.get("/health").status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
def config(experts: str) -> Config:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECORDED_URL", experts)
        return load(CONFIGS / "recorded.yaml")


@pytest.fixture(scope="module")
def client(config: Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[openai.OpenAI]:
    """Of a router with this configuration; what it writes goes elsewhere."""
    own = config.model_copy(update={"data": str(tmp_path_factory.mktemp("data"))})
    with on_a_port(build_app(lambda: open_service(own, at("", "")))) as url, http_client(url) as http:
        eventually(lambda: http.get("/ready").status_code == 200)
        with openai_client(url) as found:
            yield found


def said(client: openai.OpenAI, model: str, question: str) -> str:
    answer = client.chat.completions.create(model=model, messages=[{"role": "user", "content": question}])
    return answer.choices[0].message.content or ""


def test_the_book_is_the_readable_answers() -> None:
    """Whoever changes answers.jsonl makes the book anew, as the README says; each model answers every question."""
    lines = (CONFIGS / "recorded" / "answers.jsonl").read_text(encoding="utf-8").splitlines()
    assert pq.read_table(BOOK).to_pylist() == [json.loads(line) for line in lines]
    asked = {(row["model"], row["question"]) for row in map(json.loads, lines)}
    assert asked == {(m, q["question"]) for m in ("counter", "reader", "allround") for q in QUESTIONS}


def test_every_question_is_answered_and_most_are_right(client: openai.OpenAI) -> None:
    """The route is what makes it: two of three experts know each category, and the profiles say who."""
    asked = QUESTIONS[::4]
    right = [str(q["answer"]).casefold() in said(client, "auto", q["question"]).casefold() for q in asked]
    assert sum(right) > 0.8 * len(asked)


@pytest.mark.parametrize("model", ["auto", "panel", "fast", "counter", "reader", "allround"])
def test_every_model_answers(client: openai.OpenAI, model: str) -> None:
    """Policies and experts by name; what is recorded comes back."""
    assert said(client, model, str(QUESTIONS[0]["question"]))


def test_a_question_that_is_not_recorded_is_a_clear_error(client: openai.OpenAI) -> None:
    """No expert has an answer: not a made-up one."""
    with pytest.raises(openai.APIStatusError, match="No expert answered") as raised:
        said(client, "fast", "What is the meaning of life?")
    assert raised.value.status_code == 502
