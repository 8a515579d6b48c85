"""Measured profiles: counts, and their file; how answers become counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from router.profile import count
from router.profiles import Count, Profile, Profiles
from router.questions import LabelledQuestion


def test_a_rate_leans_on_its_prior() -> None:
    """3 of 4 with a prior of one half worth 4 observations: (3 + 2) / 8."""
    assert Count(right=3, asked=4).rate(0.5, 4) == pytest.approx(0.625)
    assert Count().rate(0.3, 8) == pytest.approx(0.3)


def test_answers_are_counted_one_by_one() -> None:
    """Right ones in both numbers, wrong ones in one."""
    assert Count().plus(True).plus(False).plus(True) == Count(right=2, asked=3)


def test_more_right_than_asked_is_refused() -> None:
    """A count that cannot be is an error of the file."""
    with pytest.raises(ValidationError, match="right must not exceed asked"):
        Count(right=2, asked=1)


def test_profiles_survive_their_file(tmp_path: Path) -> None:
    """What was written is what is read."""
    path = tmp_path / "profiles.json"
    made = Profiles(experts={"ada": Profile(version="v1", overall=Count(right=1, asked=2), skills={"s": Count()})})
    path.write_text(made.model_dump_json())
    assert Profiles.load(path) == made


def test_no_file_yet_means_no_profiles(tmp_path: Path) -> None:
    """`symposium profile` makes them from a running system, which must therefore start without."""
    assert Profiles.load(tmp_path / "none.json") == Profiles()


@pytest.mark.parametrize("text", ["", "[]", "{", '{"format": 2}', '{"experts": {"a": {}}}', '{"x": 1}'])
def test_another_file_is_refused_by_name(tmp_path: Path, text: str) -> None:
    """ValueError with the path, whatever is in the file."""
    path = tmp_path / "profiles.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="not a profile file") as caught:
        Profiles.load(path)
    assert str(path) in str(caught.value)


def answer(text: str | None, tokens: int, fingerprint: str | None = "fp") -> dict[str, Any]:
    """What of a chat completion is counted."""
    return {
        "choices": [{"message": {"content": text}}],
        "usage": {"completion_tokens": tokens},
        "system_fingerprint": fingerprint,
    }


def test_answers_are_counted_by_category_and_skill() -> None:
    """Right means the same core as the label's, as in the vote; no text is wrong; tokens are averaged."""
    questions = [
        LabelledQuestion(question="1?", answer="1,000", category="math", skill="sums"),
        LabelledQuestion(question="2?", answer="5", category="math", skill="products"),
        LabelledQuestion(question="3?", answer="Paris", category="facts", skill="capitals"),
    ]
    profile = count(questions, [answer("The answer is 1000.", 4), answer(None, 1), answer("paris", 1)])
    assert profile == Profile(
        version="fp",
        overall=Count(right=2, asked=3),
        categories={"math": Count(right=1, asked=2), "facts": Count(right=1, asked=1)},
        skills={
            "sums": Count(right=1, asked=1),
            "products": Count(right=0, asked=1),
            "capitals": Count(right=1, asked=1),
        },
        mean_output_tokens=2.0,
    )


def test_a_model_without_a_fingerprint_has_an_unknown_version() -> None:
    """Not every server sends one."""
    question = LabelledQuestion(question="1?", answer="1", category="math", skill="sums")
    assert count([question], [answer("1", 1, None)]).version == "unknown"
