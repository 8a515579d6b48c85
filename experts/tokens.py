"""How many tokens a prompt has, counted with the expert's own tokenizer where it is known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MESSAGE_OVERHEAD = 8  # role markers of chat templates: 3 to 8 tokens a message in common models


class TokenCounter:
    """Counts with one tokenizer (a folder or its tokenizer.json), else by bytes; `exact` tells which."""

    def __init__(self, tokenizer: str | None, bytes_per_token: float) -> None:
        self._bytes_per_token = bytes_per_token
        file = Path(tokenizer) if tokenizer else None
        if file is not None and file.is_dir():
            file /= "tokenizer.json"
        self._file = file if file is not None and file.is_file() else None

    @property
    def exact(self) -> bool:
        return self._file is not None

    def count(self, texts: Sequence[str]) -> int:
        """Tokens of the messages' texts plus their markers; without a tokenizer bytes / ratio, rounded up."""
        overhead = MESSAGE_OVERHEAD * (len(texts) + 1)
        return self.billed(texts) + (0 if self.exact else overhead)

    def billed(self, texts: Sequence[str]) -> int:
        """The same as an expert's bill will have it: the operator's ratio has the markers in it."""
        if self._file is None:
            return math.ceil(sum(len(t.encode()) for t in texts) / self._bytes_per_token)
        encoded = self._tokenizer.encode_batch(list(texts))
        return MESSAGE_OVERHEAD * (len(texts) + 1) + sum(len(e.ids) for e in encoded)

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        from tokenizers import Tokenizer

        return Tokenizer.from_file(str(self._file))
