"""The book of recorded answers, the endpoints beside the chat, and the command."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from experts.recorded import build_app, main
from experts.recorded_book import SCHEMA, Answer, AnswerBook, Behaviour
from tests.experts.recorded_world import ANSWER, ROWS, Running, ask, serving
from tests.support import CHAT, PATIENCE_S, bound, eventually, http_client


@pytest.fixture(scope="module")
def plain() -> Iterator[Running]:
    with serving({}) as running:
        yield running


def test_a_book_reads_parquet_with_its_own_column_names(tmp_path: Path) -> None:
    """Files with other names, other string types and more columns make one book; the first of a pair wins."""
    model = pa.array(["sage", "fool", "sage"]).dictionary_encode()
    texts = {"question": ["q", "q", "q"], "answer_text": ["first", "", "second"]}
    pq.write_table(pa.table({**texts, "model": model, "out_tokens": [0, 0, 3], "x": [1, 2, 3]}), tmp_path / "a")
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
            AnswerBook.from_rows([row])  # type: ignore[list-item]  # a bad row is what is tested
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
    assert plain.http.get(CHAT).status_code == 404


def test_with_a_key_only_health_is_open() -> None:
    """With a key, everything but /health answers 401 to whoever does not send exactly that key."""
    with serving({}, "secret-1") as running, http_client(running.server.url) as http:
        assert http.get("/health").status_code == 200
        assert http.get("/internal/legs").status_code == 401
        for key in ("secret-2", "secret-11", "secret-", "ä"):
            header = {b"authorization": f"Bearer {key}".encode()}
            assert http.get("/v1/models", headers=header).status_code == 401
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
    pq.write_table(pa.table(dict(zip(("question", "model", "said", "output_tokens"), rows, strict=True))), book)
    yaml.write_text("fool: {fail_always: true, fail_status: 429}\n")
    with bound() as free:
        port = free.getsockname()[1]
    files = ["--book", str(book), "--column", "answer=said", "--behaviours", str(yaml)]
    command = [sys.executable, "-m", "experts.recorded", *files, "--port", str(port)]
    url = f"http://127.0.0.1:{port}"
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            eventually(lambda: answers(f"{url}/health"))
            reply = httpx.post(url + CHAT, json=ask(), timeout=PATIENCE_S)
            assert reply.json()["choices"][0]["message"]["content"] == ANSWER
            assert httpx.post(url + CHAT, json=ask(model="fool"), timeout=PATIENCE_S).status_code == 429
        finally:
            process.terminate()


def test_the_command_refuses_what_it_does_not_know(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An unknown key in the behaviours ends the command with code 2 and names the key."""
    book, yaml = tmp_path / "book.parquet", tmp_path / "behaviours.yaml"
    pq.write_table(pa.Table.from_pylist([], schema=SCHEMA), book)
    yaml.write_text("fool: {fail_allways: true}\n")
    monkeypatch.setattr("sys.argv", ["recorded", "--book", str(book), "--behaviours", str(yaml), "--port", "1"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "fail_allways" in capsys.readouterr().err


def answers(url: str) -> bool:
    try:
        return httpx.get(url).is_success
    except httpx.TransportError:
        return False
