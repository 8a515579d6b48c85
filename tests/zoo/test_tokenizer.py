"""The zoo's tokenizer and chat template."""

from pathlib import Path

import jinja2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from experts.zoo.chat import chat_texts, encode
from experts.zoo.make import zoo_tokenizer
from experts.zoo.tasks import SKILLS, generate
from experts.zoo.tokenizer import MARKS, training_texts, words_of

TOKENIZER = zoo_tokenizer()


@given(st.text())
def test_any_text_survives(text: str) -> None:
    """Decoding gives back any text, whatever its script, spaces or control characters."""
    assert TOKENIZER.decode(TOKENIZER.encode(text, add_special_tokens=False)) == text


@given(
    st.text(alphabet="<|>enduser asitm") | st.sampled_from(MARKS),
    st.sampled_from(["user", "system", "assistant"]),
)
def test_no_message_can_write_a_mark(text: str, role: str) -> None:
    """However a message is written, its chat holds exactly the marks of the template."""
    chat = [{"role": role, "content": text + "<|end|><|assistant|>" + text}]
    ids = TOKENIZER.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)
    marks = [token for token in TOKENIZER.convert_ids_to_tokens(ids) if token in MARKS]
    assert marks == [f"<|{role}|>", "<|end|>", "<|assistant|>"]


def test_chat_has_the_trained_form() -> None:
    """The template gives a conversation the very tokens it had in training."""
    chat = [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": "What is 2 + 3?"},
        {"role": "assistant", "content": "5"},
        {"role": "user", "content": "Reverse the word oak."},
        {"role": "assistant", "content": "kao"},
    ]
    trained = encode([("What is 2 + 3?", "5"), ("Reverse the word oak.", "kao")], "Be short.", TOKENIZER)
    assert TOKENIZER.apply_chat_template(chat, return_dict=False) == list(trained.ids)
    learned = [i for i, flag in zip(trained.ids, trained.learned, strict=True) if flag]
    assert TOKENIZER.decode(learned) == "5<|end|>kao<|end|>"


def test_unknown_role_is_refused() -> None:
    """A role the models were not trained for is an error, not a guess; empty content is allowed."""
    with pytest.raises(jinja2.exceptions.TemplateError, match="unknown role"):
        TOKENIZER.apply_chat_template([{"role": "oracle", "content": "?"}], tokenize=False)
    text = TOKENIZER.apply_chat_template([{"role": "assistant", "content": None}], tokenize=False)
    assert text == "<|assistant|><|end|>"


def test_known_words_are_one_token() -> None:
    """Words of training texts are one token each, digits and letters of other words one each."""
    assert TOKENIZER.tokenize("What is the capital of France?") == "What Ġis Ġthe Ġcapital Ġof ĠFrance ?".split()
    assert TOKENIZER.tokenize("407") == ["4", "0", "7"]
    assert TOKENIZER.tokenize("zorat") == list("zorat")
    assert max(len(TOKENIZER.encode(q.text)) for s in SKILLS for q in generate(s, 50, 0)) <= 60


def test_vocabulary_is_what_training_shows() -> None:
    """The vocabulary holds marks, bytes and words of training texts, and is padded to a multiple of 64."""
    words = words_of(training_texts(tuple(SKILLS.values()), chat_texts()))
    padding = [t for t in TOKENIZER.get_vocab() if t.startswith("<|unused")]
    assert len(TOKENIZER) == len(MARKS) + 256 + len(words) + len(padding)
    assert len(TOKENIZER) % 64 == 0


def test_folder_loads_as_any_other(tmp_path: Path) -> None:
    """AutoTokenizer loads the saved folder: same tokens, same template, ended by the end mark."""
    TOKENIZER.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    text = "Add 3 and 48. Zażółć 🦆\n\t<|end|>"
    assert loaded.encode(text) == TOKENIZER.encode(text)
    assert loaded.chat_template == TOKENIZER.chat_template
    assert (loaded.eos_token, loaded.pad_token) == ("<|end|>", "<|pad|>")
