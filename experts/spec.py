"""What an operator writes about engines and experts, as frozen records. Knows nothing of routing.

An *engine* is one vLLM process group that we host. An *expert* is a name that can be asked: the base
model of an engine, a LoRA adapter on it, or a model behind any OpenAI-compatible `base_url`.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Annotated, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
# vLLM arguments that this project sets or that would break its accounting.
RESERVED_ARGS = frozenset(
    {
        "model",
        "served-model-name",
        "lora-modules",
        "host",
        "port",
        "api-key",
        "root-path",
        "disable-log-stats",
    }
)
PARALLEL = ("tensor-parallel-size", "pipeline-parallel-size", "data-parallel-size")
BY_TOKEN = ("input_usd_per_mtok", "output_usd_per_mtok")  # the two forms of a price
BY_TIME = ("usd_per_hour", "input_s_per_mtok", "output_s_per_mtok", "batch")
UNPRICED = (
    "missing: an owned GPU is not free; give input_usd_per_mtok and output_usd_per_mtok (US dollars per million tokens)"
    ", or what `symposium price` measures of an engine of your own"
)
UNTIMED = f"missing: a price by an engine's time needs {', '.join(BY_TIME)}; `symposium price` measures them"
EngineValue = str | int | float | bool | None | list[str | int | float] | dict[str, object]


Wrong = tuple[tuple[str | int, ...], str]  # (path inside the record, what is wrong there and what to do about it)


class Contradiction(ValueError):
    """What a record's fields, each valid by itself, cannot say together. One line each."""

    def __init__(self, found: list[Wrong]) -> None:
        super().__init__("\n".join(": ".join(filter(None, [".".join(map(str, at)), why])) for at, why in found))


class Spec(BaseModel):
    """Base of everything read from YAML: frozen, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    SHORT: ClassVar[str | None] = None  # the field that a value in the record's place is taken for

    def contradictions(self) -> Iterator[Wrong]:
        """All of its own, those of the records inside left out."""
        yield from ()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if found := [*self.contradictions()]:
            raise Contradiction(found)
        return self


class Price(Spec):
    """What tokens cost: so much a token, or what they take of an engine's time. An owned GPU is not free: no default.

    `input_usd_per_mtok`: US dollars per million tokens of prompts. `output_usd_per_mtok`: US dollars per million tokens
    of answers.

    Or, of an engine of one's own: `usd_per_hour`: what one replica costs, all of its hardware together.
    `input_s_per_mtok`: seconds of one replica per million tokens of prompts. `output_s_per_mtok`: seconds of one
    replica per million tokens of answers. `batch`: requests under way in it while these were measured (`symposium
    price`).
    """

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": [*BY_TOKEN]}, {"required": [*BY_TIME]}]})

    input_usd_per_mtok: float | None = Field(default=None, ge=0)
    output_usd_per_mtok: float | None = Field(default=None, ge=0)
    usd_per_hour: float | None = Field(default=None, ge=0)
    input_s_per_mtok: float | None = Field(default=None, ge=0)
    output_s_per_mtok: float | None = Field(default=None, ge=0)
    batch: int | None = Field(default=None, ge=1)

    def contradictions(self) -> Iterator[Wrong]:
        given = [name for name in (*BY_TOKEN, *BY_TIME) if getattr(self, name) is not None]
        forms = [form for form in (BY_TOKEN, BY_TIME) if set(form) & set(given)]
        if not forms:
            yield (), UNPRICED
        elif len(forms) == 2:
            yield (), f"give {' and '.join(BY_TOKEN)}, or {', '.join(BY_TIME)}: not of both"
        else:
            why = UNPRICED if forms == [BY_TOKEN] else UNTIMED
            yield from (((name,), why) for name in forms[0] if name not in given)

    @property
    def usd_per_mtok(self) -> tuple[float, float]:
        """US dollars per million tokens of prompts, and of answers."""
        if self.usd_per_hour is None:
            return self.input_usd_per_mtok or 0.0, self.output_usd_per_mtok or 0.0
        usd_per_s = self.usd_per_hour / 3600
        return usd_per_s * (self.input_s_per_mtok or 0.0), usd_per_s * (self.output_s_per_mtok or 0.0)

    def usd(self, prompt_tokens: int, output_tokens: int) -> float:
        of_prompts, of_answers = self.usd_per_mtok
        return (prompt_tokens * of_prompts + output_tokens * of_answers) / 1e6


class Capabilities(Spec):
    """What an expert can take. Hard filters: a request that needs more is never sent to it.

    `tools`: function calls. `json_schema`: a response format of JSON. `images`: messages with parts that are no text.
    """

    tools: bool = False
    json_schema: bool = False
    images: bool = False


class Limits(Spec):
    """How long one leg may take, seconds. Each is the leg's own, whatever the client waits for.

    `connect_s`: until the connection stands. `first_byte_s`: until the first token. `total_s`: until the end.
    `max_response_bytes`: bound on what is read of it.
    """

    connect_s: float = Field(default=2.0, gt=0)
    first_byte_s: float = Field(default=30.0, gt=0)
    total_s: float = Field(default=300.0, gt=0)
    max_response_bytes: int = Field(default=8_388_608, gt=0)

    def contradictions(self) -> Iterator[Wrong]:
        if self.first_byte_s > self.total_s:
            yield (), "first_byte_s must not exceed total_s"


class Autoscaling(Spec):
    """Handed to Ray Serve as it is (`autoscaling_config`).

    `min_replicas` and `max_replicas`: how many there may be. `target_ongoing_requests`: of each, on the mean.
    """

    min_replicas: int = Field(ge=1)
    max_replicas: int = Field(ge=1)
    target_ongoing_requests: float = Field(default=32, gt=0)

    def contradictions(self) -> Iterator[Wrong]:
        if self.min_replicas > self.max_replicas:
            yield (), "min_replicas must not exceed max_replicas"


class Engine(Spec):
    """One vLLM engine, hosted by us as one Serve application.

    `model`: a hub id, or a folder: then it begins with a dot or a slash. `parameters_b`: billions of parameters of the
    model, which all experts on it share. `accelerator`: cpu or gpu, which `gpus` must fit. `gpus`: of one replica: a
    fraction of one, or the tensor-parallel size. `cpus`: that Ray reserves for one replica. `replicas`: how many run;
    `autoscaling`: instead of a fixed number. `args`: vLLM's own engine arguments by their command-line names without
    the dashes (`max-model-len: 4096`); they go to vLLM unchanged. `env`: environment variables of the engine's process.
    `max_ongoing_requests`: bound on those under way in one replica. `start_timeout_s`: seconds until it must be up, the
    download of its weights included.
    """

    model: str
    parameters_b: float | None = Field(default=None, ge=0)
    accelerator: Literal["cpu", "gpu"]
    gpus: float = Field(default=0.0, ge=0)
    cpus: float = Field(default=1.0, ge=0)
    replicas: int = Field(default=1, ge=1)
    autoscaling: Autoscaling | None = None
    args: dict[str, EngineValue] = Field(default_factory=dict, repr=False)  # may hold secrets, as env does
    env: dict[str, str] = Field(default_factory=dict, repr=False)
    max_ongoing_requests: int = Field(default=1024, ge=1)
    start_timeout_s: float = Field(default=1800.0, gt=0)

    def contradictions(self) -> Iterator[Wrong]:
        if self.accelerator == "gpu" and self.gpus <= 0:
            yield (), "accelerator: gpu needs gpus > 0 (a fraction, or the tensor-parallel size)"
        if self.gpus > 1 and self.gpus != int(self.gpus):
            yield (), "gpus over 1 must be a whole number"
        if self.accelerator == "cpu" and self.gpus:
            yield (), "accelerator: cpu takes no gpus"
        if self.accelerator == "gpu" and (ranks := self._ranks()) != max(self.gpus, 1):
            yield (), f"gpus is {self.gpus:g}, but args divide the model among {ranks} ({' x '.join(PARALLEL)})"

    def _ranks(self) -> int:
        """How many GPUs one replica's arguments speak of."""
        sizes = (str(self.args.get(key, 1)) for key in PARALLEL)
        return prod(int(size) if size.isdigit() else 1 for size in sizes)

    @field_validator("args")
    @classmethod
    def _args_are_free(cls, args: dict[str, EngineValue]) -> dict[str, EngineValue]:
        for key in args:
            plain = key.replace("_", "-").lstrip("-")
            if plain in RESERVED_ARGS:
                raise ValueError(f"args.{key} is set by symposium; remove it")
            if plain != key:
                raise ValueError(f"args.{key}: write it as vLLM's command line does, '{plain}'")
        return args


class Expert(Spec):
    """One expert: hosted here, or behind somebody else's API.

    `part`: what it does here: most answer questions; one may name the skills of a question (`keywords`), one may read
    other experts' responses (`aggregator`). Only those that answer are recruited; each can be asked by name. `engine`:
    the engine here that serves it. `lora`: the adapter on it, a folder or hub id; without one the expert is the
    engine's own model. `base_url`: of an OpenAI-compatible server elsewhere. `model`: the name that server knows it by.
    `api_key_env`: the environment variable that holds the key for it. `context_tokens`: the bound on prompt plus
    answer. `price`: what its tokens cost. `parameters_b`: billions of parameters that must be resident for it to
    answer, beside its engine's where that says its own; for `symposium assign`. `capabilities`: what it can take.
    `limits`: how long it may take. `tokenizer`: a folder or tokenizer.json used to count prompts; without it tokens are
    estimated as bytes divided by `bytes_per_token`. `bytes_per_token`: of a prompt, on the mean, where there is no
    tokenizer; rounded up. `description`: for people, shown by `/v1/models`.
    """

    part: Literal["answers", "keywords", "aggregator"] = "answers"
    engine: str | None = None
    lora: str | None = None
    base_url: str | None = Field(default=None, pattern=r"^https?://[^\s]+$", repr=False)
    model: str | None = None
    api_key_env: str | None = None
    context_tokens: int = Field(gt=0)
    price: Price
    parameters_b: float | None = Field(default=None, ge=0)
    capabilities: Capabilities = Capabilities()
    limits: Limits = Limits()
    tokenizer: str | None = None
    bytes_per_token: float = Field(default=3.0, gt=0)
    description: str = ""

    def contradictions(self) -> Iterator[Wrong]:
        if (self.engine is None) == (self.base_url is None):
            yield (), "give exactly one of engine (hosted here) and base_url (hosted elsewhere)"
        if self.base_url is not None and self.model is None:
            yield (), "an expert with base_url needs model: the name its server knows it by"
        if self.engine is not None and (self.model or self.api_key_env):
            yield (), "model and api_key_env belong to experts with base_url"
        if self.lora is not None and self.engine is None:
            yield (), "lora needs engine: the base it is loaded on"
