"""How much of an engine's weights has been downloaded so far: what `symposium serve` shows while the engine loads.

Looks at Hugging Face's cache on this machine, where every engine of it downloads to: asking the hub, or vLLM, takes a
connection or a private interface. How much there is to come is therefore not known. Knows no engine's state.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from experts.spec import Engine

GB = 1e9


def download(engine: Engine, environ: Mapping[str, str]) -> str:
    """As "12.3 GB downloaded" while its model is being downloaded, else nothing."""
    blobs = _cache(engine, environ) / f"models--{engine.model.replace('/', '--')}" / "blobs"
    sizes = dict(_sizes(blobs))
    if not any(name.endswith(".incomplete") for name in sizes):
        return ""
    return f"{sum(sizes.values()) / GB:.1f} GB downloaded"


def _cache(engine: Engine, environ: Mapping[str, str]) -> Path:
    """Where the engine's process puts it: by its own arguments and environment, then by ours."""
    if folder := engine.args.get("download-dir"):
        return Path(str(folder)).expanduser()
    seen = {**environ, **engine.env}
    for name, below in (("HF_HUB_CACHE", ""), ("HF_HOME", "hub"), ("XDG_CACHE_HOME", "huggingface/hub")):
        if seen.get(name):
            return Path(seen[name]).expanduser() / below
    return Path.home() / ".cache" / "huggingface" / "hub"


def _sizes(folder: Path) -> Iterator[tuple[str, int]]:
    try:
        for file in folder.iterdir():
            found = file.stat()
            yield file.name, min(found.st_size, 512 * found.st_blocks)  # a file may be given its size before its bytes
    except OSError:  # not there, or a file that has just been moved to its place
        return
