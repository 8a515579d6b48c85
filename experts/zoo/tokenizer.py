"""The zoo's tokenizer and chat template, built from the training wordings alone.

Owns: the vocabulary (256 bytes, the words of training wordings, four marks) and the prompt's form.
Must not know: models, training. Digits and letters of unknown words are single tokens, so that digits and
letters can be learned; any UTF-8 text survives encoding and decoding.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from tokenizers import AddedToken, Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from transformers import PreTrainedTokenizerFast

from experts.zoo.records import Skill

PAD, SYSTEM, USER, ASSISTANT, END = "<|pad|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"
MARKS = (PAD, SYSTEM, USER, ASSISTANT, END)
VOCABULARY_MULTIPLE = 64

CHAT_TEMPLATE = """\
{%- set marks = {'system': '<|system|>', 'developer': '<|system|>',
                 'user': '<|user|>', 'assistant': '<|assistant|>'} -%}
{%- for message in messages -%}
{%- if message['role'] not in marks -%}
{{- raise_exception('unknown role: ' ~ message['role']) -}}
{%- endif -%}
{#- no message can write a mark: "<|" in its text becomes "< |" -#}
{{- marks[message['role']] ~ (message['content'] or '') | trim | replace('<|', '< |') ~ '<|end|>' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|assistant|>' -}}
{%- endif -%}
"""


def words_of(texts: Iterable[str]) -> list[str]:
    """The words of `texts` that deserve a token, in byte-level spelling ("Ġis"); no digits, no letters."""
    splitter = ByteLevel(add_prefix_space=False)
    pieces = {piece for text in texts for piece, _ in splitter.pre_tokenize_str(text)}
    return sorted(piece for piece in pieces if len(piece) > 1 and not any(c.isdigit() for c in piece))


def training_texts(skills: Sequence[Skill], extra: Iterable[str] = ()) -> list[str]:
    """Training wordings with emptied slots, closed payload words (also after a space), and `extra` texts."""
    wordings = [re.sub(r"{\w+}", "0", wording) for skill in skills for wording in skill.wordings]
    lexicon = [text for skill in skills for word in skill.lexicon for text in (word, f" {word}")]
    return [*wordings, *lexicon, *extra]


def build_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """A tokenizer of the marks, the byte alphabet, every word of `texts` and some unused tokens.

    BPE without merges and with `ignore_merges`: a word is one token if the vocabulary holds it, else its
    bytes.
    """
    tokens = [*MARKS, *sorted(ByteLevel.alphabet()), *words_of(texts)]
    tokens += [f"<|unused{i}|>" for i in range(-len(tokens) % VOCABULARY_MULTIPLE)]
    core = Tokenizer(BPE({token: i for i, token in enumerate(tokens)}, [], ignore_merges=True))
    core.pre_tokenizer = ByteLevel(add_prefix_space=False)
    core.decoder = ByteLevelDecoder()
    core.add_special_tokens([AddedToken(mark, special=True, normalized=False) for mark in MARKS])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token=END,
        pad_token=PAD,
        additional_special_tokens=[SYSTEM, USER, ASSISTANT],
        clean_up_tokenization_spaces=False,
        model_max_length=1024,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """The tokenizer saved in a model folder."""
    return PreTrainedTokenizerFast.from_pretrained(folder)
