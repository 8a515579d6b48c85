"""The rooms and their doors: who may import whom, how large a file is, that everything says what it is.

Parsed from the source, so that a rule holds for code that no other test runs. Imports under TYPE_CHECKING and
inside functions count for the doors; for cycles only those count that run when a module is imported.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGES = ("experts", "router", "deploy", "loadtest")
MAX_LINES = 300

# Who must not import what, and why. Patterns are module names; a pattern also stands for what is below it.
DECISIONS = (
    "classify dialogue skills keywords recruit ranking plan eligible admission profiles calibration panels aggregators "
    "answers values structured vote consensus synthesis aggregate breaker allowance latency sessions "
    "rates surface correctness jury stopping replay assign assignment assigned feedback pace pricing "
    "budget affordable offers panel_search prospects quality unaffordable "
    "concurrency fair_queue lane forecast outlook "
    "caller callers rate_limits usage "
    "registry registry_rows feedback_tally feedback_versions "
    "ledger ledger_sums money"
).split()
PLAIN = "spec accounting delivery sse errors tokens guard version prompts intervals files assembly".split()
STEPS = (
    "eligible classify dialogue keyword_expert keywords skills recruit ranking plan aggregate vote consensus synthesis"
).split()
FORBIDDEN: dict[tuple[str, ...], tuple[tuple[str, ...], str]] = {
    ("experts",): (("router", "deploy", "loadtest"), "experts know no routing"),
    ("router",): (("deploy", "loadtest", "ray", "vllm"), "the router runs anywhere, under any server"),
    ("deploy",): (("loadtest", "tests"), "the product does not need its benchmarks"),
    ("loadtest",): (("router", "experts", "deploy"), "benchmarks see what an operator sees: HTTP"),
    tuple(f"router.{room}" for room in DECISIONS): (
        ("asyncio", "time", "aiohttp", "httpx", "prometheus_client", "starlette", "router.telemetry"),
        "decisions are pure: `now` is an argument, nothing waits",
    ),
    tuple(f"experts.{room}" for room in PLAIN): (
        ("aiohttp", "httpx", "ray", "vllm"),
        "they stand before any server and any client",
    ),
    ("router.api",): (tuple(f"router.{step}" for step in STEPS), "HTTP's shape decides nothing"),
    tuple(f"router.{room}" for room in "ledger_open ledger_redis ledger_sqlite database redis_calls".split()): (
        (*(f"router.{step}" for step in STEPS), "router.pipeline", "router.dispatch", "router.api", "router.telemetry"),
        "where money lies nobody is chosen",
    ),
    ("router.config", "router.config_checks", "router.records", "router.errors", "router.events"): (
        ("asyncio", "aiohttp", "httpx", "starlette", "router.pipeline", "router.dispatch", "router.api"),
        "what everybody shares depends on nobody",
    ),
    tuple(
        f"router.{room}" for room in "dispatch legs lanes watch health pipeline response keyword_expert embed".split()
    ): (
        ("starlette", "router.api", "router.telemetry"),
        "they emit events and know no HTTP server",
    ),
}
# What only these may import.
RESERVED: dict[str, tuple[str, ...]] = {
    "vllm": ("experts.host",),
    "ray": ("experts.host", "deploy"),
    "aiohttp": ("experts.client", "loadtest"),
    "prometheus_client": (
        "router.telemetry",
        "router.metrics",
        "router.metrics_money",
        "router.metrics_listener",
        "router.families",
        "deploy.samples",
        "loadtest",
    ),
    "opentelemetry": ("router.tracing",),
    "redis": ("router.redis_calls", "router.registry_redis"),
    "torch": ("experts.zoo", "router.embedders"),
    "sklearn": ("router.fit", "router.folds", "router.evaluation", "router.baselines"),  # all of them offline
    "router.api": ("router.api", "router.admin.app", "router.admin.feedback", "router.admin.tenants", "deploy"),
}
# Modules that may do what a rule forbids, each with its reason.
EXEMPT: dict[str, str] = {
    "loadtest.feedback_replay": "what it measures, learning from outcomes, takes tens of thousands of them",
    "loadtest.planning": "what it measures, the time and the worth of single decisions, is a part of a request's time",
    "loadtest.newcomers_replay": "what it measures, experts that are new, takes hundreds of profiles",
}
# Several rooms together that only one module may know: it is the order of the steps.
ORDER = tuple(f"router.{step}" for step in STEPS if step not in ("keywords", "vote"))  # those two are inside others
ORDER_KNOWN_BY = {"router.pipeline"}
# Files over MAX_LINES, each with its reason.
LONG: dict[str, str] = {}


@dataclass(frozen=True)
class Module:
    """One source file. `name` is dotted; a package goes by its folder."""

    name: str
    source: str
    is_package: bool = False

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.source)

    @property
    def lines(self) -> int:
        return self.source.count("\n")

    @cached_property
    def imports(self) -> frozenset[str]:
        """Everything imported anywhere in the file; `from a import b` is `a` and `a.b`."""
        return frozenset(self._imported(list(ast.walk(self.tree))))

    @cached_property
    def imports_at_import(self) -> frozenset[str]:
        """What runs when the module is imported: not in functions, not for type checkers."""
        return frozenset(self._imported(list(_running(self.tree.body))))

    def _imported(self, nodes: list[ast.AST]) -> Iterator[str]:
        for node in nodes:
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                base = self._base(node)
                yield base
                yield from (f"{base}.{alias.name}" for alias in node.names)

    def _base(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        up = node.level - 1 if self.is_package else node.level
        parts = self.name.split(".")
        return ".".join([*parts[: len(parts) - up], *([node.module] if node.module else [])])


def _running(body: list[ast.stmt]) -> Iterator[ast.AST]:
    """Statements that run at import, through if, try, with and classes."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        yield node
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            yield from _running(node.orelse)
            continue
        for field in ("body", "orelse", "finalbody"):
            yield from _running(getattr(node, field, []))
        for handler in getattr(node, "handlers", []):
            yield from _running(handler.body)


def read_modules() -> dict[str, Module]:
    """Every source file of the product."""
    found = {}
    for package in PACKAGES:
        for path in sorted((REPOSITORY / package).rglob("*.py")):
            parts = path.relative_to(REPOSITORY).with_suffix("").parts
            is_package = parts[-1] == "__init__"
            name = ".".join(parts[:-1] if is_package else parts)
            found[name] = Module(name, path.read_text(encoding="utf-8"), is_package)
    return found


MODULES = read_modules()


def within(name: str, pattern: str) -> bool:
    """Whether a module is the pattern or below it."""
    return name == pattern or name.startswith(f"{pattern}.")


def forbidden_imports(modules: Mapping[str, Module]) -> list[str]:
    """Each import that FORBIDDEN or RESERVED rules out, with the rule."""
    found = []
    for module in modules.values():
        for rooms, (targets, why) in FORBIDDEN.items():
            if any(within(module.name, room) for room in rooms) and module.name not in EXEMPT:
                hit = sorted({t for t in targets for i in module.imports if within(i, t)})
                found += [f"{module.name} imports {target}: {why}" for target in hit]
        for target, rooms in RESERVED.items():
            if any(within(i, target) for i in module.imports) and not any(within(module.name, r) for r in rooms):
                found.append(f"{module.name} imports {target}, which is for {', '.join(rooms)}")
    return found


def knows_the_order(modules: Mapping[str, Module]) -> set[str]:
    """Modules that import all of the steps."""
    return {m.name for m in modules.values() if set(ORDER) <= m.imports}


def cycles(modules: Mapping[str, Module]) -> list[list[str]]:
    """Groups of modules that import each other when they are imported (strongly connected components)."""
    below = {name: _reached(name, modules) for name in modules}
    groups = {frozenset({a, *(b for b in below[a] if a in below[b])}) for a in modules if a in below[a]}
    return sorted(sorted(group) for group in groups)


def _reached(start: str, modules: Mapping[str, Module]) -> set[str]:
    seen: set[str] = set()
    pending = [start]
    while pending:
        name = pending.pop()
        new = {i for i in modules[name].imports_at_import if i in modules and i != name} - seen
        seen |= new
        pending += new
    return seen


def silent_functions(path: Path) -> list[str]:
    """Test functions without a docstring, with their lines."""
    return [
        f"{path.relative_to(REPOSITORY)}:{node.lineno} {node.name}"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and not ast.get_docstring(node)
    ]


def test_every_room_keeps_to_its_doors() -> None:
    """No module imports what the tables above forbid it or reserve to others."""
    assert forbidden_imports(MODULES) == []


def test_only_the_pipeline_knows_the_order_of_the_steps() -> None:
    """One module imports all steps: the order can be read, and changed, in one place."""
    assert knows_the_order(MODULES) == ORDER_KNOWN_BY


def test_no_module_imports_itself_by_way_of_others() -> None:
    """There are no import cycles."""
    assert cycles(MODULES) == []


def test_files_stay_readable() -> None:
    """At most MAX_LINES lines, but for those that have a reason; an exception that is no longer one goes."""
    long = {m.name: m.lines for m in MODULES.values() if m.lines > MAX_LINES}
    assert long.keys() == LONG.keys(), long


def test_every_module_opens_by_saying_what_it_owns() -> None:
    """A docstring comes first; an empty __init__.py has nothing to say."""
    silent = [m.name for m in MODULES.values() if m.source.strip() and not ast.get_docstring(m.tree)]
    assert silent == []


def test_every_test_states_the_rule_it_holds() -> None:
    """Each test function has a docstring."""
    files = sorted((REPOSITORY / "tests").rglob("test_*.py"))
    assert len(files) > 10
    assert [line for path in files for line in silent_functions(path)] == []


def test_nobody_draws_from_the_random_numbers_that_all_share() -> None:
    """No ambient state: who draws has a `Random` of its own. Otherwise a router beside a property test changes what
    that one draws.
    """
    drawn = {
        m.name: found
        for m in MODULES.values()
        if within(m.name, "router") and (found := {i for i in m.imports if within(i, "random")} - {"random.Random"})
        if found != {"random"} or "random.Random" not in m.imports
    }
    assert drawn == {}


def test_the_tables_speak_of_modules_that_are_there() -> None:
    """A room that was renamed must not leave its rule behind."""
    rooms = {r for rooms in FORBIDDEN for r in rooms} | {r for rooms in RESERVED.values() for r in rooms}
    named = rooms | set(ORDER) | ORDER_KNOWN_BY | LONG.keys()
    assert {name for name in named if name not in MODULES} == set()


@pytest.mark.parametrize(
    ("name", "source", "found"),
    [
        ("experts.x", "import router.plan", "experts.x imports router: experts know no routing"),
        ("experts.x", "def f():\n    from vllm import LLM", "experts.x imports vllm, which is for experts.host"),
        ("router.x", "if TYPE_CHECKING:\n    from ray.serve import Application", "router.x imports ray: "),
        ("router.vote", "from time import monotonic", "router.vote imports time: decisions are pure"),
        ("router.vote", "import asyncio as a", "router.vote imports asyncio: decisions are pure"),
        ("router.api.x", "from router import plan", "router.api.x imports router.plan: HTTP's shape decides"),
        ("router.api.x", "from ..plan import plan", "router.api.x imports router.plan: HTTP's shape decides"),
        ("router.x", "class A:\n    import aiohttp.web", "router.x imports aiohttp, which is for"),
        ("loadtest.x", "from experts.guard import TOKEN_ENV", "loadtest.x imports experts: benchmarks"),
        ("deploy.x", "import vllm.engine", "deploy.x imports vllm, which is for experts.host"),
    ],
)
def test_a_planted_violation_is_found(name: str, source: str, found: str) -> None:
    """The rules are not empty words: each kind of import that breaks one is named."""
    assert any(line.startswith(found) for line in forbidden_imports({name: Module(name, source)}))


def test_a_planted_second_pipeline_is_found() -> None:
    """A module that imports all steps, in whichever form, knows their order."""
    source = (
        "from router import keyword_expert, classify, dialogue, eligible, ranking, skills\n"
        "from router.aggregate import Single\nfrom router import consensus, synthesis\n"
        "from router.recruit import candidates\nimport router.plan\n"
    )
    assert knows_the_order({"router.x": Module("router.x", source)}) == {"router.x"}


def test_a_planted_cycle_is_found_and_a_type_is_none() -> None:
    """Three modules in a circle; an import for type checkers or inside a function closes none."""
    a, b = Module("p.a", "import p.b"), Module("p.b", "try:\n    from p import c\nexcept ImportError:\n    pass")
    assert cycles({m.name: m for m in (a, b, Module("p.c", "from p.a import x"))}) == [["p.a", "p.b", "p.c"]]
    lazy = "def f():\n    import p.a"
    typed = "if TYPE_CHECKING:\n    import p.a\nelse:\n    import json"
    for harmless in (lazy, typed):
        assert cycles({m.name: m for m in (a, b, Module("p.c", harmless))}) == []
