"""Skills that a keyword expert names: repetition, known names, near ones, unknown ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.keywords import named_skills, repeated, strange
from router.skills import Vocabulary

AXES = np.eye(4, dtype=np.float32)
KNOWN = Vocabulary(("addition", "next_letter", "capitals"), AXES[:3], name_vectors=AXES[:3])
NEAR_ADDITION = np.array([0.8, 0.6, 0, 0], dtype=np.float32)


def test_a_keyword_stays_when_it_is_repeated() -> None:
    """Symbolic-MoE's rule: named by more than one sample; twice in one sample is once."""
    samples = ["Keywords: addition, sums", "Keywords: addition", "Keywords: sums, sums", "Keywords: luck", "?"]
    assert repeated(samples, 2) == {"addition": 2, "sums": 2}
    assert repeated(samples, 3) == {}
    assert repeated(samples, 1) == {"addition": 2, "sums": 2, "luck": 1}


def test_known_names_need_no_embedding() -> None:
    """Only what is no skill's name, written with blanks or underscores, has to be embedded."""
    assert strange(KNOWN, {"addition": 3, "next letter": 2, "sums": 2}) == ("sums",)


def test_skills_weigh_by_how_often_they_were_named() -> None:
    """Weights are shares of the samples' votes, most often first, at most max_skills."""
    found = named_skills(KNOWN, {"addition": 1, "next letter": 3, "capitals": 2}, {}, 0.5, 2)
    assert list(found.weights.items()) == [("next_letter", 0.6), ("capitals", 0.4)]
    assert found.source == "keywords"


def test_a_strange_keyword_counts_as_the_nearest_skill() -> None:
    """Where it is near enough; its votes add to that skill's own."""
    found = named_skills(KNOWN, {"sums": 2, "addition": 2}, {"sums": NEAR_ADDITION}, 0.7, 3)
    assert (dict(found.weights), found.unknown) == ({"addition": 1.0}, ())


def test_a_keyword_like_no_skill_is_shown_as_unknown() -> None:
    """Below the floor it gives no weight and is named; nothing is made up for it."""
    found = named_skills(KNOWN, {"law": 4}, {"law": AXES[3]}, 0.7, 3)
    assert (dict(found.weights), found.unknown) == ({}, ("law",))


@given(
    st.dictionaries(st.sampled_from(["addition", "next letter", "capitals"]), st.integers(1, 16)),
    st.integers(1, 5),
)
def test_weights_sum_to_one_or_there_are_none(votes: dict[str, int], most: int) -> None:
    """Whatever was named."""
    found = named_skills(KNOWN, votes, {}, 0.5, most)
    assert len(found.weights) <= most
    assert sum(found.weights.values()) == pytest.approx(1.0 if votes else 0.0)
