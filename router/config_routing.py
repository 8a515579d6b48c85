"""What an operator decides about routing: embedder, fitted files, the keyword expert, who is assigned what.

A part of `router/config.py`, which is where everybody else takes it from.
"""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field

from experts.spec import Name, Spec, Wrong


class Embedder(Spec):
    """What turns a text into a vector.

    `model`: `minilm` is all-MiniLM-L6-v2 from an installed package; `static` its word vectors alone, a hundred times
    cheaper, as good at categories, much worse at noticing foreign questions. Any other name or path is taken by
    sentence-transformers. `max_batch`: texts at once. `max_chars`: of a text, that are read.
    """

    model: str = "minilm"
    max_batch: int = Field(default=32, ge=1)
    max_chars: int = Field(default=2000, ge=1)


class Keywords(Spec):
    """The expert that is asked for a question's skills, and what counts of its samples (Symbolic-MoE).

    `expert`: one of part `keywords`. `samples`: how many choices it is asked for at once (OpenAI's `n`). `min_repeats`:
    a keyword stays when so many of them name it. `temperature`: of the samples. `floor`: a keyword that is no known
    skill counts as the nearest one if their names' cosine reaches this. `max_tokens`: of one sample.
    `max_question_chars`: of the question, that it is shown. `timeout_s`: after so long, or when it fails, the skills
    are found by embedding.
    """

    expert: Name
    samples: int = Field(default=5, ge=1, le=16)
    min_repeats: int = Field(default=2, ge=1)
    temperature: float = Field(default=0.7, ge=0, le=2)
    floor: float = Field(default=0.6, ge=-1, le=1)
    max_tokens: int = Field(default=48, ge=1)
    max_question_chars: int = Field(default=2000, ge=1)
    timeout_s: float = Field(default=2.0, gt=0)

    def contradictions(self) -> Iterator[Wrong]:
        if self.min_repeats > self.samples:
            yield (), "min_repeats must not exceed samples"


class Assigning(Spec):
    """Which expert serves which category, as `symposium assign` finds it and policies with `recruit: assigned` use it.

    `resident_b`: billions of parameters (`parameters_b`) that all assigned experts may have together, a model that
    several are on counted once. `usd_per_query`: what a query may cost on the mean. `prompt_tokens`: of such a query.
    `forced`: category -> the expert that it must have. `forbidden`: category -> those that it must not.
    """

    resident_b: float | None = Field(default=None, ge=0)
    usd_per_query: float | None = Field(default=None, ge=0)
    prompt_tokens: int = Field(default=256, ge=0)
    forced: dict[Name, Name] = Field(default_factory=dict)
    forbidden: dict[Name, tuple[Name, ...]] = Field(default_factory=dict)


class Routing(Spec):
    """The two stages: what is asked, and who is good at it.

    `embedder`: what turns questions into vectors. `fitted`: the categories and skills, a file made by `symposium fit`.
    `profiles`: the measured experts, a file made by `symposium profile`. `learned`: what that command learned besides;
    without it profiles alone are used. `general_expert`: who is asked where no category is sure. `min_confidence`: the
    probability from which a category is. `skill_floor`: the cosine from which a skill counts. `max_skills`: of a
    question. `prior_strength`: observations that the level above a rate counts as (expert, category, skill).
    `assignment`: for `symposium assign`. `keywords`: the expert that names skills, for policies that ask it.
    """

    embedder: Embedder = Embedder()
    fitted: str
    profiles: str
    learned: str | None = None
    general_expert: Name
    min_confidence: float = Field(default=0.5, ge=0, le=1)
    skill_floor: float = Field(default=0.35, ge=-1, le=1)
    max_skills: int = Field(default=3, ge=1)
    prior_strength: float = Field(default=8.0, gt=0)
    assignment: Assigning = Assigning()
    keywords: Keywords | None = None
