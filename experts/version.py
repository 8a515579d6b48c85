"""What answers under an expert's name, as twelve hex digits. Reads files; knows no server and no routing.

Of a hosted expert: the weights of its base and adapter, whatever turns a chat into tokens and back, and the engine
arguments that can change an answer. Of an expert elsewhere: its address and its name there, as nothing more is known;
who changes the model behind the same name is not noticed. Files count by content and name, never by time or place, so
that a copy is the same expert. A hub id counts by its name; `revision` is among the arguments.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from experts.spec import Engine, Expert

DIGITS = 12
WHOLE_BYTES = 64 << 20  # files over this count by size and both ends: tens of GB would take minutes at every start
END_BYTES = 1 << 20  # safetensors have their table in front; a training run changes both ends of the numbers
# What of a model's folder an engine reads. `card.json` says something about a model and is no part of it.
WEIGHTS = frozenset(".safetensors .bin .pt .gguf".split())
PAPERS = frozenset(".json .jinja .model .txt .tiktoken .py".split())
NOT_READ = frozenset({"card.json"})
# Arguments that say where, how fast and for how many at once. Every other one counts, so that one we have never heard
# of rather makes a profile look old than hides that it is.
NEUTRAL_ARGS = frozenset(
    """
    api-server-count async-scheduling block-size compilation-config cpu-offload-gb data-parallel-size
    disable-custom-all-reduce disable-log-requests distributed-executor-backend download-dir enable-chunked-prefill
    enable-expert-parallel enable-lora enable-prefix-caching enforce-eager fully-sharded-loras gpu-memory-utilization
    kv-cache-memory-bytes max-cpu-loras max-log-len max-lora-rank max-loras max-num-batched-tokens max-num-seqs
    max-parallel-loading-workers num-gpu-blocks-override optimization-level pipeline-parallel-size scheduling-policy
    stream-interval swap-space tensor-parallel-size uvicorn-log-level
    """.split()
)


def expert_versions(experts: Mapping[str, Expert], engines: Mapping[str, Engine]) -> dict[str, str]:
    """Expert -> version. Reads each file once, however many experts share it.

    Raises:
        OSError: a file of a model cannot be read.
    """
    content = cache(_content)

    def model(name: str) -> str:
        return content(name, WEIGHTS | PAPERS)

    def version(expert: Expert) -> str:
        if expert.engine is None:
            return _digest(["elsewhere", (expert.base_url or "").rstrip("/"), expert.model])
        engine = engines[expert.engine]
        args = {
            # A tokenizer's folder, a chat template's file: a model's weights beside its tokenizer are not read.
            key: content(value, PAPERS) if isinstance(value, str) else value
            for key, value in engine.args.items()
            if key not in NEUTRAL_ARGS
        }
        return _digest(["hosted", model(engine.model), expert.lora and model(expert.lora), args])

    return {name: version(expert) for name, expert in experts.items()}


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:DIGITS]


def _content(name: str, suffixes: frozenset[str]) -> str:
    """A local folder (of it the files with these suffixes) or file by what is in it; a hub id as it is."""
    path = Path(name)
    if not path.is_absolute() or not path.exists():  # the configuration makes every local path absolute
        return name
    files = sorted(_read(path, suffixes)) if path.is_dir() else [path]
    return hashlib.sha256("".join(f"{file.name} {_file(file)}\n" for file in files).encode()).hexdigest()


def _read(folder: Path, suffixes: frozenset[str]) -> Iterator[Path]:
    for file in folder.iterdir():
        if file.suffix in suffixes and file.name not in NOT_READ and file.is_file():
            yield file


def _file(path: Path) -> str:
    with path.open("rb") as file:
        size = path.stat().st_size
        if size <= WHOLE_BYTES:
            return hashlib.file_digest(file, "sha256").hexdigest()
        head = file.read(END_BYTES)
        file.seek(-END_BYTES, os.SEEK_END)
        return hashlib.sha256(str(size).encode() + head + file.read()).hexdigest()
