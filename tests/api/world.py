"""A whole router without Ray and engines: real HTTP before and behind it, recorded experts, a tiny embedder.

The experts are named by what they are like; each policy convenes the ones that one rule is about.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np

from experts.prompts import aggregation_prompt, keywords_prompt
from experts.recorded_book import Behaviour
from router.api.app import build_app
from router.classify import Classifier
from router.config import Config
from router.fitted import Fitted
from router.opening import at, open_service
from router.profiles import Count, Profile, Profiles
from router.skills import Vocabulary
from tests.support import Recorded, bound, eventually, http_client, on_a_port

if TYPE_CHECKING:
    from numpy.typing import NDArray

KEY_ENV = "SYMPOSIUM_TEST_KEY"  # the experts' own key, which the router finds in its environment
KEY = "sk-of-the-experts"

SUM, WHO, ODD = "What is 6 + 7?", "Who wrote Faust?", "Sing a song."
NAMER, MAX_CHARS = (
    "namer",
    2000,
)  # the keyword expert: it knows the sum's skill, calls the other strange, fails at songs
JUDGE = "judge"  # the aggregating expert: it knows the dispute of two about the sum
DISPUTED = ("The answer is 13.", "Answer: 14")
SONG = "La, la, " * 50
FRUGAL_USD = 2e-4  # a query, on the mean: more than an ant costs, and less than an elk
ROWS = [
    (SUM, "ant", "The answer is 13.", 6),
    (SUM, "bee", "13", 1),
    (SUM, "cat", "Answer: 14", 3),
    (SUM, "dog", "Who knows", 2),
    (WHO, "ant", "Goethe did.", 4),
    (ODD, "cat", "La.", 2),
    (ODD, "ant", "La, la.", 3),
    (keywords_prompt(SUM, MAX_CHARS), NAMER, "Keywords: addition, 1 + 1", 4),
    (keywords_prompt(WHO, MAX_CHARS), NAMER, "Keywords: old books", 3),
    (SUM, "elk", "13", 1),
    (SUM, "jay", '{"sum": 13}', 6),
    (SUM, "kay", '{ "sum": 13.0 }', 6),
    (SUM, "lee", '{"sum": "thirteen"}', 6),
    *((aggregation_prompt(SUM, texts, MAX_CHARS), JUDGE, "So it is 13.", 5) for texts in permutations(DISPUTED)),
    *(
        (SUM, name, "The answer is 13.", 6)
        for name in ("mute", "numb", "torn", "stuck", "late", "tiny", "tooled", "tooled2")
    ),
    *((SUM, name, SONG, 200) for name in ("slow1", "slow2", "slow3")),
    (SUM, "jslow", '{"sum": "' + SONG + '"}', 200),
    (SUM, "steady", "The answer is 13.", 6),
    (SUM, "talker", SONG, 200),
]
SLOW = Behaviour(tokens_per_s=5)
BEHAVIOURS = {
    "mute": Behaviour(fail_always=True, fail_status=500),
    "numb": Behaviour(fail_always=True, fail_status=503),
    "torn": Behaviour(drop_after_tokens=2),
    "stuck": Behaviour(stall_after_tokens=2),
    "late": Behaviour(ttft_s=3600),
    "slow1": SLOW,
    "slow2": SLOW,
    "slow3": SLOW,
    "jslow": SLOW,
    "steady": Behaviour(ttft_s=0.04),
}
# expert -> (right sums, right people) of 100 each
KNOWS = {
    "ant": (60, 97),
    "bee": (55, 40),
    "cat": (50, 30),
    "dog": (45, 20),
    "elk": (90, 20),
    "gone": (70, 20),
    "mute": (80, 50),
    "numb": (75, 50),
    "late": (80, 50),
    "jay": (70, 20),
    "kay": (60, 20),
    "lee": (80, 20),
    "slow1": (50, 30),
}
POLICIES: dict[str, dict[str, Any]] = {
    "auto": {"experts": ["ant", "bee", "cat", "dog", "gone"], "decided_at": None, "description": "three of five"},
    "solo": {"experts": ["ant", "bee"], "max_experts": 1},
    "hurt": {"experts": ["mute", "ant"], "max_experts": 1},
    "hurried": {"experts": ["late", "ant"], "max_experts": 1},
    "lost": {"experts": ["mute", "numb", "ant"], "max_experts": 1},
    "dead": {"experts": ["mute", "numb"]},
    "limping": {"experts": ["mute", "ant", "bee", "cat"], "decided_at": None},
    "slowly": {"experts": ["slow1", "slow2", "slow3"]},
    "sluggish": {"experts": ["ant", "bee", "slow1"], "decided_at": None, "min_share": 0, "enough": 1},
    "handy": {"experts": ["ant", "tooled"]},
    "named": {"experts": ["ant", "bee", "cat"], "skills": "keywords"},
    "frugal": {
        "experts": ["ant", "elk"],
        "max_experts": 1,
        "target_usd_per_query": FRUGAL_USD,
        "usd_per_right": 1,
        "enough": 1,
    },
    "mapped": {"experts": ["ant", "bee", "cat"], "recruit": "assigned", "max_experts": 1},
    "drawn": {"experts": ["ant", "bee", "cat", "dog"], "recruit": "random", "max_experts": 1},
    "sampled": {"experts": ["ant", "bee", "cat", "dog"], "recruit": "symbolic", "aggregate": "vote", "min_share": 0},
}


# One test's failures are no reason to leave an expert out of the next one; every failure may be made good.
PATIENT: dict[str, Any] = {
    "max_chars": MAX_CHARS,
    "retry_share": 1,
    "hedge_quantile": None,
    "breakers": {"failures_in_a_row": 1_000_000, "min_calls": 1_000_000},
}


class KeywordEmbedder:
    """Sums, people and the rest are three directions: what a text is about is in its letters."""

    name = "keywords"

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        axes = [0 if "+" in text else 1 if "Who" in text else 2 for text in texts]
        return np.eye(3, dtype=np.float32)[axes]


def fitted() -> Fitted:
    known = np.eye(3, dtype=np.float32)[:2]
    return Fitted(
        embedder=KeywordEmbedder.name,
        classifier=Classifier(
            labels=("people", "sums"),
            weights=np.array([[0, 6, 0], [6, 0, 0]], dtype=np.float32),
            bias=np.zeros(2, dtype=np.float32),
            temperature=1.0,
        ),
        vocabulary=Vocabulary(("addition", "authors"), known, known),
        familiar_from=0.5,
        report={},
    )


def profiles() -> Profiles:
    def profile(sums: int, people: int) -> Profile:
        counts = Count(right=sums, asked=100), Count(right=people, asked=100)
        return Profile(
            expert_version="1",
            engine_version="recorded",
            questions="1",
            overall=Count(right=sums + people, asked=200),
            categories=dict(zip(("sums", "people"), counts, strict=True)),
            skills=dict(zip(("addition", "authors"), counts, strict=True)),
            output_tokens=1000,
        )

    return Profiles(experts={name: profile(*knows) for name, knows in KNOWS.items()})


def config(folder: Path, url: str, gone: str, **changed: Any) -> Config:
    """The configuration over recorded experts at `url`, but for what is changed; nobody listens at `gone`."""
    fitted().save(folder / "fitted.npz")
    (folder / "profiles.json").write_text(profiles().model_dump_json())
    expert = {
        "context_tokens": 4096,
        "price": {"input_usd_per_mtok": 1, "output_usd_per_mtok": 2},
        "api_key_env": KEY_ENV,
    }
    special: dict[str, dict[str, Any]] = {
        "gone": {"base_url": f"{gone}/v1"},
        "elk": {"price": {"input_usd_per_mtok": 100, "output_usd_per_mtok": 200}},
        "tiny": {"context_tokens": 60, "bytes_per_token": 1},
        **{name: {"capabilities": {"tools": True}} for name in ("tooled", "tooled2")},
        **{name: {"capabilities": {"json_schema": True}} for name in ("jay", "kay", "lee", "jslow")},
        "stuck": {"limits": {"first_byte_s": 1, "total_s": 1}},
        "late": {"limits": {"first_byte_s": 0.2}},
        NAMER: {"part": "keywords"},
        JUDGE: {"part": "aggregator"},
    }
    names = dict.fromkeys([*(model for _, model, _, _ in ROWS), "gone"])
    raw = {
        "version": 1,
        "data": str(folder / "data"),
        "server": {"limits": {"max_tokens": 4096, "max_body_bytes": 65_536}},
        "convening": PATIENT,
        "experts": {n: expert | {"base_url": f"{url}/v1", "model": n} | special.get(n, {}) for n in names},
        "routing": {
            "embedder": {"model": KeywordEmbedder.name},
            "fitted": str(folder / "fitted.npz"),
            "profiles": str(folder / "profiles.json"),
            "general_expert": "cat",
            "assignment": {"forced": {"sums": "cat"}},
            "keywords": {"expert": NAMER, "samples": 1, "min_repeats": 1, "max_question_chars": MAX_CHARS},
        },
        "policies": POLICIES,
    }
    return Config.model_validate(raw | changed)


@dataclass(frozen=True, slots=True)
class World:
    """A running router over recorded experts."""

    url: str
    http: httpx.Client
    experts: Recorded

    def post(self, body: object, **headers: str) -> httpx.Response:
        return self.http.post("/v1/chat/completions", json=body, headers=headers)

    def explained(self, model: str, text: str = SUM, **options: Any) -> dict[str, Any]:
        """The decision behind an answer."""
        found: dict[str, Any] = self.post(ask(model, text, symposium={"explain": True}, **options)).json()["symposium"]
        return found

    def legs(self, key: str, *models: str) -> int:
        """The sum of a count over the recorded experts (all of them when none is named)."""
        found = self.experts.http.get("/internal/legs").json()
        return sum(found[model][key] for model in models or found)

    def metric(self, name: str, **labels: str) -> float:
        """A counter or gauge of the router, summed over the labels that are not given."""
        total = 0.0
        for line in self.http.get("/metrics").text.splitlines():
            if line.partition("{")[0].split(" ")[0] == name and all(f'{k}="{v}"' in line for k, v in labels.items()):
                total += float(line.rsplit(" ", 1)[1])
        return total


@contextmanager
def routing(folder: Path, experts: Recorded, **changed: Any) -> Iterator[World]:
    """A router over recorded experts, with changed parts of its configuration, once it has seen all that are up."""
    with bound() as closed:
        settings = config(folder, experts.url, f"http://127.0.0.1:{closed.getsockname()[1]}", **changed)
        app = build_app(lambda: open_service(settings, at("", ""), KeywordEmbedder()))
        with on_a_port(app) as url, http_client(url) as http:
            world = World(url, http, experts)
            eventually(lambda: world.metric("symposium_expert_up") == len(settings.experts) - 1)
            yield world


def ask(model: str = "auto", text: object = SUM, **options: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}], **options}
