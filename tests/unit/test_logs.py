"""Lines of the log: what is in each, and what never is."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.logs import MAX_CHARS, REQUEST_ID, JsonLines, masked, write_to

KEYS = [
    "sk-abcdefgh12345678",
    "sym-0123456789abcdef",
    "hf_abcdefghijklmnop",
    "glpat-abcdefgh12345678",
    "AKIAABCDEFGH12345678",
    "eyJhbGciOiJIUzI1.eyJzdWIiOiIxMjM0.c2lnbmF0dXJl",
]


class Kept(logging.Handler):
    """Keeps what it is to write."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        (line,) = self.format(record).splitlines()
        self.lines.append(json.loads(line))


@pytest.fixture
def kept() -> Iterator[Kept]:
    handler = Kept()
    write_to(handler, "router.of_a_test")
    yield handler
    logging.getLogger("router.of_a_test").handlers = []


log = logging.getLogger("router.of_a_test")


def test_a_line_is_an_object(kept: Kept) -> None:
    """Time, level, logger, message, and the fields that the line has; what is None is left out."""
    log.warning("%d experts are down", 2, extra={"experts": ["ant", "bee"], "code": None, "seconds": 0.5})
    (line,) = kept.lines
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "WARNING",
        "logger": "router.of_a_test",
        "message": "2 experts are down",
        "experts": ["ant", "bee"],
        "seconds": 0.5,
    }


def test_a_line_knows_the_request_that_it_is_about(kept: Kept) -> None:
    """Whatever is written while a request is served carries its id; nothing else does."""
    token = REQUEST_ID.set("req_1")
    log.info("inside")
    REQUEST_ID.reset(token)
    log.info("outside")
    assert [line.get("request_id") for line in kept.lines] == ["req_1", None]


def test_an_exception_is_told_without_its_text(kept: Kept) -> None:
    """Types and places, also of what it came of: its words may quote a prompt."""

    def failing() -> None:
        try:
            int("my secret prompt")
        except ValueError as error:
            raise RuntimeError("about my secret prompt") from error

    try:
        failing()
    except RuntimeError:
        log.exception("unexpected error")
    (line,) = kept.lines
    assert "secret prompt" not in json.dumps(line)
    assert [part for part in line["error"] if " " not in part] == ["RuntimeError", "ValueError"]
    assert any(part.endswith(" failing") for part in line["error"])


@pytest.mark.parametrize("key", KEYS)
def test_keys_are_masked_wherever_they_stand(kept: Kept, key: str) -> None:
    """In a message, in a field, in a list, behind `authorization` or Bearer."""
    log.error("refused: Bearer %s", key, extra={"header": f"authorization: {key}", "seen": [key, {"api_key": key}]})
    (line,) = kept.lines
    assert key not in json.dumps(line)
    assert line["message"] == "refused: Bearer [secret]"


@pytest.mark.parametrize(
    "text",
    ["Authorization: Basic dXNlcjpwYXNzd29yZA==", "x-symposium-internal: abc", "api_key=abc", '"api-key": "abc"'],
)
def test_what_is_called_a_key_is_masked(text: str) -> None:
    """Whatever its form, what stands behind such a name is not written."""
    assert masked(text).endswith(("[secret]", '[secret]"'))
    assert "abc" not in masked(text)
    assert "dXNl" not in masked(text)


@pytest.mark.parametrize("text", ["authorization: Basic Ym9iOnB3", "http://bob:Ym9iOnB3@collector:4318/v1/traces"])
def test_what_opens_a_door_by_its_place_is_masked(text: str) -> None:
    """However short it is."""
    assert "Ym9iOnB3" not in masked(text)
    assert "[secret]" in masked(text)


@pytest.mark.parametrize(
    "text", ["req_0123456789abcdef", "version 3 of a configuration", "token 17 of 20", "risk-free"]
)
def test_what_is_no_key_stays(text: str) -> None:
    """Ids and ordinary words are what a log is for."""
    assert masked(text) == text


@given(st.one_of(st.text(max_size=3 * MAX_CHARS), st.integers(0, MAX_CHARS).map(lambda n: "pwd=x " * n)))
def test_every_line_is_one_line_of_bounded_length(text: str) -> None:
    """Whatever is in it, a line can be read back, and nobody can forge another one with it."""
    record = logging.LogRecord("router", logging.INFO, "", 0, text.replace("%", "%%"), (), None)
    record.more = text
    line = JsonLines().format(record)
    assert "\n" not in line
    assert len(json.loads(line)["message"]) <= MAX_CHARS + len("[secret]") * (MAX_CHARS // 8)
