"""Everything an operator decides, as one frozen, validated configuration. Knows nothing of what is done with it,
and nothing of files: `router/config_file.py` reads them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from experts.spec import Engine, Expert, Name, Spec, Wrong
from router.config_budgets import ApiKey, Budgets, Concurrency, Grants, LedgerSettings, QueryBudget, Tenant
from router.config_checks import reference_problems
from router.config_observability import Decisions, Tracing
from router.config_policies import BLIND, MAX_EXPERTS, Breakers, Convening, Policy, Recruitment
from router.config_routing import Assigning, Embedder, Keywords, Routing

AUTO = "auto"
__all__ = [
    "AUTO", "BLIND", "MAX_EXPERTS", "ApiKey", "Assigning", "Breakers", "Budgets", "Concurrency", "Config", "Convening",
    "Embedder", "Grants", "Keywords", "LedgerSettings", "Policy", "QueryBudget", "Recruitment", "RequestLimits",
    "Routing", "Server", "Tenant", "Tracing",
]  # fmt: skip


class RequestLimits(Spec):
    """Bounds on one request, and on how many are held at once by one router replica.

    `max_body_bytes`: of its JSON. `max_depth`: of objects and lists inside each other. `max_messages`: in a chat.
    `max_n`: choices. `max_tokens`: of the answer. `max_in_flight`: requests at once; one more is told to come back
    later.
    """

    max_body_bytes: int = Field(default=1_048_576, ge=1024)
    max_depth: int = Field(default=64, ge=8)
    max_messages: int = Field(default=256, ge=1)
    max_n: int = Field(default=8, ge=1)
    max_tokens: int = Field(default=32_768, ge=1)
    max_in_flight: int = Field(default=512, ge=1)


class Server(Spec):
    """The public side. As long as there are no keys, here or made by `symposium keys`, all who reach the port may ask.

    `host`: the address that is listened on. `api_keys`: whose requests are taken, beside keys that were made.
    `limits`: bounds on one request. `public_metrics`: whether `/metrics` is served here, too. `router_replicas`: how
    many routers share the requests. `drain_s`: how long requests under way may go on when the system
    is told to stop. `budget`: of each query.
    """

    host: str = "127.0.0.1"
    api_keys: tuple[ApiKey, ...] = ()
    limits: RequestLimits = RequestLimits()
    public_metrics: bool = True
    router_replicas: int = Field(default=1, ge=1)
    drain_s: float = Field(default=10.0, ge=0)
    budget: Budgets = Budgets()


class Config(Spec):
    """One version of everything. Paths are absolute after `load`.

    `version`: of this format. `data`: the folder that a running symposium writes to. `server`: the public side.
    `engines`: vLLM engines hosted here, by name. `experts`: who can be asked, by name. `routing`: the two stages.
    `convening`: how planned experts are called. `tracing`: OpenTelemetry spans. `decisions`: the decision log.
    `policies`: the virtual models that clients ask for, by name; `auto` is the default. `tenants`: who pays, by name;
    keys of none belong to `default`. `ledger`: where money is kept.
    """

    version: Literal[1]
    data: str = "data"
    server: Server = Server()
    engines: dict[Name, Engine] = Field(default_factory=dict)
    experts: dict[Name, Expert] = Field(min_length=1)
    routing: Routing
    convening: Convening = Convening()
    tracing: Tracing = Tracing()
    decisions: Decisions = Decisions()
    policies: dict[Name, Policy] = Field(default_factory=lambda: {AUTO: Policy()})
    tenants: dict[Name, Tenant] = Field(default_factory=dict)
    ledger: LedgerSettings = LedgerSettings()

    @property
    def hash(self) -> str:
        """Twelve hex digits that change whenever anything in the configuration does."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:12]

    @property
    def answering(self) -> tuple[str, ...]:
        """The experts that answer questions: whom a policy without a list of its own may convene."""
        return tuple(name for name, expert in self.experts.items() if expert.part == "answers")

    @property
    def sizeless(self) -> tuple[str, ...]:
        """The experts that answer of which it is not known what they hold resident."""
        return tuple(name for name in self.answering if self._sizeless(self.experts[name]))

    def _sizeless(self, expert: Expert) -> bool:
        """An engine's own model holds what the engine says; an adapter, or an expert elsewhere, has to say its own."""
        engine = self.engines.get(expert.engine or "")
        of_engine = expert.lora is None and engine is not None and engine.parameters_b is not None
        return expert.parameters_b is None and not of_engine

    def tenant(self, name: str) -> Tenant:
        """The one of that name; without bounds where it is not configured, as `default` need not be."""
        return self.tenants.get(name) or Tenant()

    def loras(self, engine: str) -> dict[str, str]:
        """Expert name -> adapter, for the LoRA experts of one engine."""
        return {n: e.lora for n, e in self.experts.items() if e.engine == engine and e.lora is not None}

    def tokenizer(self, expert: str) -> str | None:
        """Folder or file of an expert's tokenizer: its own, else that of its engine's local model."""
        spec = self.experts[expert]
        if spec.tokenizer is None and spec.engine is not None:
            engine = self.engines[spec.engine]
            return str(engine.args.get("tokenizer") or engine.model)
        return spec.tokenizer

    def contradictions(self) -> Iterator[Wrong]:
        yield from reference_problems(self)
        if AUTO not in self.policies:
            yield ("policies",), f"'{AUTO}' is missing; it is what clients ask for by default"

    def __repr__(self) -> str:
        """By its version alone: values may have come from the environment, and nobody is to read them in a log."""
        return f"Config({self.hash})"

    __str__ = __repr__
