"""Who aggregates best in a category, and how sure counts must be to say so."""

from __future__ import annotations

import pytest

from router.aggregators import aggregator_rate, best_aggregators
from router.profiles import Count, Profile, Profiles

STRENGTH = 8.0


def measured(overall: tuple[int, int], **categories: tuple[int, int]) -> Profile:
    """A profile from (right, asked), overall and of categories."""

    def count(pair: tuple[int, int]) -> Count:
        return Count(right=pair[0], asked=pair[1])

    return Profile(
        expert_version="1",
        engine_version="e",
        questions="q",
        overall=count(overall),
        categories={name: count(pair) for name, pair in categories.items()},
    )


PROFILES = Profiles(
    experts={"cat": measured((99, 100), math=(99, 100))},  # best at answering, never measured at aggregating
    aggregators={
        "ada": measured((60, 100), math=(45, 50), text=(15, 50)),
        "bob": measured((60, 100), math=(15, 50), text=(45, 50)),
        "eve": measured((2, 2), math=(2, 2)),
    },
)


def test_the_best_in_the_category_comes_first() -> None:
    """Who is best in one category may be the last in another."""
    assert best_aggregators(PROFILES, ["bob", "ada"], "math", STRENGTH) == ("ada", "bob")
    assert best_aggregators(PROFILES, ["ada", "bob"], "text", STRENGTH) == ("bob", "ada")


def test_a_category_leans_on_overall_and_that_on_all_aggregators() -> None:
    """Laplace's mean of all; each level counts as the strength's observations."""
    mean = (122 + 1) / (202 + 2)
    overall = (60 + STRENGTH * mean) / (100 + STRENGTH)
    rate = aggregator_rate(PROFILES, "ada", "math", STRENGTH)
    assert rate == pytest.approx((45 + STRENGTH * overall) / (50 + STRENGTH))


def test_luck_on_few_questions_does_not_win() -> None:
    """Two of two is less than 45 of 50."""
    assert best_aggregators(PROFILES, ["eve", "ada"], "math", STRENGTH) == ("ada", "eve")


@pytest.mark.parametrize("category", ["general", "facts"])
def test_where_nobody_was_measured_overall_decides(category: str) -> None:
    """A category without counts, or none at all; equal ones go by name."""
    overall = (60 + STRENGTH * 123 / 204) / (100 + STRENGTH)
    assert aggregator_rate(PROFILES, "ada", category, STRENGTH) == pytest.approx(overall)
    assert best_aggregators(PROFILES, ["bob", "ada"], category, STRENGTH) == ("ada", "bob")


def test_who_was_not_measured_comes_last() -> None:
    """However good at answering: that is another skill, and the rate is not guessed."""
    assert aggregator_rate(PROFILES, "cat", "math", STRENGTH) is None
    assert best_aggregators(PROFILES, ["zoe", "cat", "bob"], "math", STRENGTH) == ("bob", "cat", "zoe")


def test_only_those_who_are_able_are_named() -> None:
    """The best of all does not help who may not ask it; nobody able is nobody."""
    assert best_aggregators(PROFILES, ["bob"], "math", STRENGTH) == ("bob",)
    assert best_aggregators(PROFILES, [], "math", STRENGTH) == ()
    assert best_aggregators(Profiles(), ["bob", "ada"], "math", STRENGTH) == ("ada", "bob")
