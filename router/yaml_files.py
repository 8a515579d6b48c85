"""YAML files and what they include -> one tree. A thin shell around `router/yaml_tree.py`: it reads, and merges.

`include: [other.yaml]` names files, relative to the file that includes them. The including file wins over what it
includes, a later include over an earlier one; mappings are merged key by key, everything else is replaced.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from router.yaml_tree import Items, Node, Place, Problem, Scalar, Source, Table, YamlPath, read_document

INCLUDE = "include"
MAX_BYTES = 512 * 1024  # of one file
MAX_FILES = 64
MAX_INCLUDED_DEPTH = 8


@dataclass(slots=True)
class Tree:
    """All files together.

    `whole`: False where a file could not be read, so that what is missing may only be missing because of that.
    `files`: absolute path -> text as written, of each file that was read.
    """

    root: Table
    whole: bool = True
    problems: list[Problem] = field(default_factory=list)
    files: dict[Path, str] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)


def read_text(path: Path) -> str:
    """A file's text. Never waits: what is no plain file is refused.

    Raises:
        OSError, ValueError: it cannot be read, is too long, or no UTF-8.
    """
    if path.exists() and not path.is_file():
        raise ValueError("is no file")
    with path.open("rb") as file:
        raw = file.read(MAX_BYTES + 1)
    if len(raw) > MAX_BYTES:
        raise ValueError(f"is longer than {MAX_BYTES} bytes")
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"is not UTF-8 text: byte {error.start}") from error


def read_tree(path: Path, environ: Mapping[str, str], read: Callable[[Path], str] = read_text) -> Tree:
    """A file with all that it includes. Never raises: what cannot be read is among the problems.

    Args:
        path: as it is to be called in messages.
        read: the text of a file, which is given absolute, or OSError or ValueError.
    """
    whole = Path(os.path.realpath(path))  # `resolve` raises where links go in a circle
    source = Source(str(path), whole.parent)
    tree = Tree(Table({}, {}, Place(source, 1, 1)))
    tree.root = _Files(environ, read, tree).tables(whole, source, (), tree.root.place, ())
    return tree


class _Files:
    """The files read so far, for one tree."""

    def __init__(self, environ: Mapping[str, str], read: Callable[[Path], str], tree: Tree) -> None:
        self._environ, self._read, self._tree = environ, read, tree
        self._count = 0

    def tables(self, path: Path, source: Source, above: tuple[Path, ...], asked: Place, at: YamlPath) -> Table:
        """One file and what it includes, merged. `asked`, at `at`: where it is included; `above`: what included it."""
        nothing = Table({}, {}, Place(source, 1, 1))
        text = self._text(path, asked, at)
        if text is None:
            return nothing
        found = read_document(text, source, self._environ)
        self._tree.problems += found.problems
        self._tree.variables |= found.variables
        if not isinstance(found.root, Table):
            if not found.problems:
                place = found.root.place if found.root else nothing.place
                self._wrong(place, (), "the file must hold a mapping; start with `version: 1`")
            self._tree.whole = False
            return nothing
        included = found.root.items.pop(INCLUDE, None)
        below = nothing
        for index, item in enumerate(self._named(included)):
            below = merged(self._included(item, source, (*above, path), (INCLUDE, index)), below)
        return merged(found.root, below)

    def _named(self, included: Node | None) -> tuple[Scalar, ...]:
        items = included.items if isinstance(included, Items) else ()
        good = tuple(item for item in items if isinstance(item, Scalar) and isinstance(item.value, str) and item.value)
        if included is not None and not (isinstance(included, Items) and len(good) == len(items)):
            self._wrong(included.place, (INCLUDE,), "write a list of files: [prices.yaml, experts.yaml]")
        return good

    def _included(self, item: Scalar, source: Source, above: tuple[Path, ...], at: YamlPath) -> Table:
        nothing = Table({}, {}, item.place)
        try:
            path = Path(os.path.realpath(source.folder / item.value))
        except (OSError, ValueError) as error:  # a NUL
            self._wrong(item.place, at, f"a path cannot be one: {error}")
            return nothing
        shown = os.path.normpath(Path(source.shown).parent / item.value)
        if path in above:
            self._wrong(item.place, at, f"'{item.value}' includes itself by way of others; remove one of the includes")
        elif len(above) > MAX_INCLUDED_DEPTH:
            self._wrong(item.place, at, f"files include each other more than {MAX_INCLUDED_DEPTH} deep")
        else:
            return self.tables(path, Source(shown, path.parent), above, item.place, at)
        return nothing

    def _text(self, path: Path, asked: Place, at: YamlPath) -> str | None:
        self._count += 1
        named = f"'{path.name}' " if at else ""
        try:
            if self._count > MAX_FILES:
                raise ValueError(f"is one more than the {MAX_FILES} files that may be included")
            self._tree.files[path] = self._read(path)
        except OSError as error:
            self._wrong(asked, at, f"{named}cannot be read: {error.strerror or error}")
        except ValueError as error:  # also of a path with a NUL in it
            self._wrong(asked, at, f"{named}{error}")
        else:
            return self._tree.files[path]
        return None

    def _wrong(self, place: Place, path: YamlPath, message: str) -> None:
        self._tree.whole = False
        self._tree.problems.append(Problem(place, path, message))


def merged(over: Table, under: Table) -> Table:
    """Both, key by key; `over` where they differ."""
    items = dict(under.items)
    for key, value in over.items.items():
        below = items.get(key)
        items[key] = merged(value, below) if isinstance(value, Table) and isinstance(below, Table) else value
    return Table(items, {**under.keys, **over.keys}, over.place)
