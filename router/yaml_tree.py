"""A YAML text as a tree of values, each with the place where it is written; all that is wrong with it, at once.

Plain data only, as YAML 1.1 reads it (dates stay text): no tags, keys are text and written once, `<<` merges, aliases
name what is written already. Sizes are bounded, of what aliases expand to as well. Knows no field of any
configuration, and nothing of files: `router/yaml_files.py` reads and includes them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from router.yaml_env import Unfit, expand

MAX_DEPTH = 32
MAX_VALUES = 50_000  # of one file, every use of an alias counted
MAX_BITS = 64  # of a whole number
HALVES = ("\ud800", "\udfff")  # the first and the last half of a character, which no file and no JSON can hold
PREFIX = "tag:yaml.org,2002:"
PLAIN = frozenset(PREFIX + kind for kind in ("null", "bool", "int", "float"))
WORDS: Mapping[str, bool | None] = {"true": True, "false": False, "null": None}  # typed when they come from outside

YamlPath = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Source:
    """A file: what it is called in messages, and the folder in which its relative paths start."""

    shown: str
    folder: Path


@dataclass(frozen=True, slots=True)
class Place:
    """Where something is written; lines and columns from 1."""

    source: Source
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.source.shown}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: where, and what to write instead where that can be said."""

    place: Place
    path: YamlPath
    message: str

    def __str__(self) -> str:
        return ": ".join([str(self.place), *([dotted(self.path)] if self.path else []), self.message])

    def json(self) -> dict[str, Any]:
        where = {"file": self.place.source.shown, "line": self.place.line, "column": self.place.column}
        return {**where, "path": dotted(self.path), "message": self.message}


@dataclass(frozen=True, slots=True)
class Scalar:
    """`value`: after the environment's variables were put in."""

    value: Any
    place: Place


@dataclass(frozen=True, slots=True)
class Items:
    """A list."""

    items: tuple[Node, ...]
    place: Place


@dataclass(frozen=True, slots=True)
class Table:
    """A mapping; `keys` says where each key is written."""

    items: dict[str, Node]
    keys: dict[str, Place]
    place: Place


Node = Scalar | Items | Table


@dataclass(slots=True)
class Document:
    """What one text says. `root` is None where it is no YAML at all, or empty.

    `variables`: those that were taken from the environment -> their values, which messages must not show.
    """

    root: Node | None = None
    problems: list[Problem] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)


def dotted(path: YamlPath) -> str:
    return ".".join(map(str, path))


def plain(node: Node) -> Any:
    """The values alone."""
    match node:
        case Scalar(value=value):
            return value
        case Items(items=items):
            return [plain(item) for item in items]
        case Table(items=items):
            return {key: plain(item) for key, item in items.items()}


def place_of(root: Node, path: YamlPath) -> Place:
    """Where the key, or the item, at a path begins, or the nearest that there is above it."""
    place, node = root.place, root
    for step in path:
        if isinstance(node, Table) and step in node.items:
            place, node = node.keys[str(step)], node.items[str(step)]
        elif isinstance(node, Items) and isinstance(step, int) and step < len(node.items):
            node = node.items[step]
            place = node.place
        else:
            break
    return place


def read_document(text: str, source: Source, environ: Mapping[str, str]) -> Document:
    """Never raises: what cannot be read is among the problems."""
    found, loader = Document(), None
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        found.problems += [Problem(_place(source, mark), (), TAGGED.format(tag)) for tag, mark in loader.tagged]
        found.root = None if root is None else _Builder(loader, source, environ, found).build(root, (), ())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        context = error.context if isinstance(error, yaml.composer.ComposerError) else None  # as which anchor it is
        said = ", ".join(filter(None, [context, error.problem]))
        found.problems.append(Problem(_place(source, mark), (), f"{said}{_quoting(text, mark)}"))
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        found.problems.append(Problem(Place(source, line, 1), (), f"{error.reason}: character {error.character:#x}"))
    except (ValueError, OverflowError):  # the scanner's own, of "\UFFFFFFFF"
        message = "an escape names no character; \\U takes at most 0010FFFF"
        found.problems.append(Problem(_place(source, loader and loader.get_mark()), (), message))
    return found


def _quoting(text: str, mark: Any) -> str:
    """The remedy for the one mistake that is made by following the documentation of variables."""
    line = text.splitlines()[mark.line] if mark and mark.line < len(text.splitlines()) else ""
    before = line[: max(0, line.rfind("${"))]
    return "; inside braces and brackets write '${NAME}' in quotes" if "[" in before or "{" in before else ""


TAGGED = "the tag {} is refused: only plain data is read here; remove it"


def _place(source: Source, mark: Any) -> Place:
    return Place(source, mark.line + 1, mark.column + 1) if mark else Place(source, 1, 1)


class _Loader(yaml.SafeLoader):
    """Composes nodes, with their tags noted and their depth bounded; values are built by `_Builder`."""

    # A date is text: nothing here is one, and a wrong one would be an error without a path.
    yaml_implicit_resolvers = {  # noqa: RUF012  # PyYAML's own form
        first: [(tag, pattern) for tag, pattern in resolvers if tag != PREFIX + "timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.tagged: list[tuple[str, yaml.Mark]] = []
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]  # PyYAML's stubs
        if tag := getattr(event, "tag", None):
            self.tagged.append((tag, event.start_mark))
        if self._depth >= MAX_DEPTH:
            message = f"nested more than {MAX_DEPTH} deep"
            raise yaml.composer.ComposerError(None, None, message, event.start_mark)
        self._depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1


class _Builder:
    """Nodes -> values. What is wrong goes into the document, and what is around it is read on."""

    def __init__(self, loader: _Loader, source: Source, environ: Mapping[str, str], into: Document) -> None:
        self._loader, self._source, self._environ, self._into = loader, source, environ, into
        self._values = 0

    def build(self, node: yaml.Node, path: YamlPath, above: tuple[int, ...]) -> Node:
        """`above`: the nodes that this one is inside of.

        Raises:
            yaml.MarkedYAMLError: what aliases expand to is too much.
        """
        self._values += 1
        if self._values > MAX_VALUES or len(above) > MAX_DEPTH:
            message = f"more than {MAX_VALUES} values or {MAX_DEPTH} levels, counting each use of an alias"
            raise yaml.composer.ComposerError(None, None, message, node.start_mark)
        place = _place(self._source, node.start_mark)
        if id(node) in above:
            self._wrong(place, path, "an alias inside what it names; write the value out")
            return Scalar(None, place)
        if isinstance(node, yaml.MappingNode):
            return self._table(node, path, (*above, id(node)))
        if isinstance(node, yaml.SequenceNode):
            inner = enumerate(node.value)
            return Items(tuple(self.build(item, (*path, at), (*above, id(node))) for at, item in inner), place)
        assert isinstance(node, yaml.ScalarNode), "YAML has three kinds of nodes"
        return Scalar(self._scalar(node, path, place), place)

    def _table(self, node: yaml.MappingNode, path: YamlPath, above: tuple[int, ...]) -> Table:
        keys: dict[str, Place] = {}
        own: dict[str, Node] = {}
        merged = Table({}, {}, _place(self._source, node.start_mark))
        for key_node, value in node.value:
            place = _place(self._source, key_node.start_mark)
            if key_node.tag == PREFIX + "merge":
                for under in self._merged(value, path, above):
                    merged.items.update({k: v for k, v in under.items.items() if k not in merged.items})
                    merged.keys.update({k: v for k, v in under.keys.items() if k not in merged.keys})
            elif (key := self._key(key_node, path, place)) is None:
                continue
            elif key in own:
                self._wrong(place, (*path, key), f"'{key}' is written twice, first in line {keys[key].line}; keep one")
            else:
                keys[key], own[key] = place, self.build(value, (*path, key), above)
        return Table({**merged.items, **own}, {**merged.keys, **keys}, merged.place)

    def _merged(self, node: yaml.Node, path: YamlPath, above: tuple[int, ...]) -> Iterator[Table]:
        """What stands behind `<<`: one mapping, or a list of them of which the first counts most."""
        for one in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            built = self.build(one, path, above)
            if isinstance(built, Table):
                yield built
            else:
                self._wrong(built.place, path, "'<<' takes a mapping, or a list of them")

    def _key(self, node: yaml.Node, path: YamlPath, place: Place) -> str | None:
        if isinstance(node, yaml.ScalarNode) and node.tag not in PLAIN:
            return self._whole(str(node.value), path, place)
        said = f"'{node.value}'" if isinstance(node, yaml.ScalarNode) else "a collection"
        self._wrong(place, path, f"keys must be text, and {said} is none; write it in quotes")
        return None

    def _scalar(self, node: yaml.ScalarNode, path: YamlPath, place: Place) -> Any:
        if node.tag in PLAIN:
            return self._typed(node, path, place)
        try:
            value = expand(node.value, self._environ, self._into.variables)
        except Unfit as error:
            self._wrong(place, path, str(error))
            return ""
        self._whole(value, path, place)
        # Text that comes from outside stays text, and a field that wants a number reads it as one: a key of digits must
        # not lose its zeros. Three words are no text unless they are quoted.
        return value if node.style or value == node.value else WORDS.get(value, value)

    def _typed(self, node: yaml.ScalarNode, path: YamlPath, place: Place) -> Any:
        try:
            value = self._loader.construct_object(node)
            if not isinstance(value, int) or value.bit_length() <= MAX_BITS:
                return value
            self._wrong(place, path, "a number that is too large; write it in quotes if it is text")
        except (ValueError, KeyError, OverflowError):  # of a tag that does not fit, or thousands of digits
            if not any(tag == node.tag for tag, _ in self._loader.tagged):
                self._wrong(place, path, "a number that cannot be read")
        return ""

    def _whole(self, text: str, path: YamlPath, place: Place) -> str:
        if any(HALVES[0] <= character <= HALVES[1] for character in text):
            self._wrong(place, path, "half of a character; write it whole")
        return text

    def _wrong(self, place: Place, path: YamlPath, message: str) -> None:
        problem = Problem(place, path, message)
        if problem not in self._into.problems:
            self._into.problems.append(problem)
