"""How many tokens a prompt has for one expert."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from experts.tokens import MESSAGE_OVERHEAD, TokenCounter
from router.config_file import load
from router.eligible import BYTES_PER_MESSAGE_MARKERS

REPOSITORY = Path(__file__).resolve().parents[2]


def words(folder: Path) -> Path:
    """A tokenizer that counts words."""
    tokenizer = Tokenizer(WordLevel({"?": 0}, unk_token="?"))
    tokenizer.pre_tokenizer = Whitespace()
    path = folder / "tokenizer.json"
    tokenizer.save(str(path))
    return path


@cache
def quickstart_counters() -> tuple[TokenCounter, ...]:
    """Those of both engines."""
    config = load(REPOSITORY / "configs" / "quickstart.yaml")
    return tuple(
        TokenCounter(config.tokenizer(name), config.experts[name].bytes_per_token) for name in ("math", "general")
    )


def test_with_a_tokenizer_tokens_are_counted(tmp_path: Path) -> None:
    """The file or the folder it lies in; each message and the answer's opening add their markers."""
    file = words(tmp_path)
    for where in (file, tmp_path):
        counter = TokenCounter(str(where), 3.0)
        assert counter.exact
        assert counter.count(["one two three", "four"]) == 4 + 3 * MESSAGE_OVERHEAD


@pytest.mark.parametrize("where", [None, "org/model-on-a-hub"])
def test_without_one_bytes_are_divided_and_rounded_up(where: str | None) -> None:
    """7 bytes at 3 bytes a token are 3 tokens; the estimate says that it is one."""
    counter = TokenCounter(where, 3.0)
    assert not counter.exact
    assert counter.count(["abcd", "éa"]) == 3 + 3 * MESSAGE_OVERHEAD
    assert counter.count([]) == MESSAGE_OVERHEAD


def test_a_folder_without_a_tokenizer_is_estimated(tmp_path: Path) -> None:
    """As where none is named."""
    assert not TokenCounter(str(tmp_path), 3.0).exact


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=40), min_size=1, max_size=4))
def test_no_prompt_has_more_tokens_than_bytes_and_markers(texts: list[str]) -> None:
    """What `router.eligible` rests on, with the quickstart's own tokenizers."""
    most = sum(len(t.encode()) for t in texts) + BYTES_PER_MESSAGE_MARKERS * len(texts)
    for counter in quickstart_counters():
        assert counter.exact
        assert counter.count(texts) <= most
