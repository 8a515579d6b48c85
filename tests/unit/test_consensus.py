"""Open-ended responses: the one closest to the others is chosen, and how far it is from them is told."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from random import Random
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.consensus import closest
from router.records import Answer, Ballot, Reply
from tests.unit.make import reply

if TYPE_CHECKING:
    from numpy.typing import NDArray

ALIKE = {"ada": 0.5, "bob": 0.5, "cy": 0.5}


def directions(*degrees: float) -> NDArray[np.float32]:
    """Unit vectors in a plane: what a response is about is an angle."""
    radians = np.radians(np.array(degrees))
    return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)


def distance(degrees: float) -> float:
    """1 - cosine of two responses that are so far from each other."""
    return 1 - math.cos(math.radians(degrees))


def chosen(said: Mapping[str, str], degrees: Sequence[float], trust: Mapping[str, float] = ALIKE) -> Answer:
    """The answer, of experts that said this and meant that."""
    return closest([reply(name, text) for name, text in said.items()], directions(*degrees), trust)


def ballot(answer: Answer) -> Ballot:
    """The answer's ballot."""
    assert answer.ballot is not None
    return answer.ballot


def test_the_response_closest_to_the_others_is_chosen() -> None:
    """The one in the middle, in its own words; the ballot orders all of them, and says how far it is on the mean."""
    answer = chosen({"ada": "left", "bob": "middle", "cy": "right"}, [0, 20, 50])
    assert (answer.expert, answer.choices[0]["message"]["content"]) == ("bob", "middle")
    found = ballot(answer)
    assert found.answers == (("response 1", ("bob",)), ("response 2", ("ada",)), ("response 3", ("cy",)))
    assert (found.share, found.posterior) == (1 / 3, None)
    assert found.spread == pytest.approx((distance(20) + distance(30)) / 3)


def test_responses_count_by_their_trust() -> None:
    """Of equals the one in the middle of most is chosen; what a trusted expert says is more probably right itself."""
    trust = {"ada": 0.9, "bob": 0.1, "cy": 0.1, "dan": 0.1}
    said, degrees = dict.fromkeys(trust, "a text"), [0, 40, 50, 60]
    assert chosen(said, degrees, dict.fromkeys(trust, 0.5)).expert == "bob"
    answer = chosen(said, degrees, trust)
    assert answer.expert == "ada"
    assert ballot(answer).spread == pytest.approx(0.1 * (distance(40) + distance(50) + distance(60)) / 1.2)


def test_two_responses_are_as_far_from_each_other() -> None:
    """The more trusted one is chosen; where both are trusted the same, the first by name."""
    said = {"bob": "b", "ada": "a"}
    assert chosen(said, [0, 60], {"ada": 0.2, "bob": 0.3}).expert == "bob"
    assert chosen(said, [0, 60]).expert == "ada"


def test_a_blank_response_is_never_chosen_beside_one_that_says_something() -> None:
    """However close to the others and however trusted; nor does it pull the choice its way."""
    said = {"ada": " \n", "bob": "b", "cy": "c", "dan": ""}
    trust = {"ada": 0.99, "bob": 0.1, "cy": 0.2, "dan": 0.99}
    answer = chosen(said, [0, 5, 80, 0], trust)
    assert answer.expert == "cy"
    assert ballot(answer).spread == pytest.approx(0.1 * distance(75) / 0.3)


def test_where_all_are_blank_one_of_them_is_the_answer() -> None:
    """Somebody answered: the client is told what was said, which is nothing."""
    assert chosen({"ada": "", "bob": " "}, [0, 0], {"ada": 0.1, "bob": 0.2}).expert == "bob"


def test_the_same_said_by_all_has_no_spread() -> None:
    """Small where they say the same; one response alone has none to differ from."""
    assert ballot(chosen({"ada": "a", "bob": "a"}, [30, 30])).spread == pytest.approx(0, abs=1e-6)
    alone = ballot(chosen({"ada": "a"}, [30]))
    assert (alone.spread, alone.share) == (None, 1)


def test_the_answer_carries_what_its_expert_said_beside_the_text() -> None:
    """Choices and extra fields are its own, unchanged."""
    only = reply("ada", "hm", extra={"k": 2})
    answer = closest([only], directions(0), {})
    assert answer.choices is only.choices
    assert answer.extra == {"k": 2}


RESPONSES = st.lists(
    st.tuples(st.sampled_from(["", " ", "a", "b"]), st.integers(0, 350), st.integers(0, 4).map(lambda n: n / 4)),
    min_size=1,
    max_size=6,
)


@given(RESPONSES, st.randoms(use_true_random=False))
def test_the_order_of_replies_does_not_matter(responses: list[tuple[str, int, float]], random: Random) -> None:
    """Who answered first decides nothing."""
    replies = [reply(f"e{i}", text) for i, (text, _, _) in enumerate(responses)]
    trust = {f"e{i}": p for i, (_, _, p) in enumerate(responses)}
    order = list(range(len(replies)))
    random.shuffle(order)

    def answer(indices: Sequence[int]) -> Answer:
        said: list[Reply] = [replies[i] for i in indices]
        return closest(said, directions(*(responses[i][1] for i in indices)), trust)

    one, other = answer(range(len(replies))), answer(order)
    assert (one.expert, ballot(one).answers) == (other.expert, ballot(other).answers)


@given(RESPONSES)
def test_no_other_response_is_closer(responses: list[tuple[str, int, float]]) -> None:
    """Of those that say something the chosen one has the least expected distance to all of them, by brute force."""
    spoken = [(i, degrees, max(p, 0.01)) for i, (text, degrees, p) in enumerate(responses) if text.strip()]
    answer = closest(
        [reply(f"e{i}", text) for i, (text, _, _) in enumerate(responses)],
        directions(*(degrees for _, degrees, _ in responses)),
        {f"e{i}": p for i, (_, _, p) in enumerate(responses)},
    )
    risks = {f"e{i}": sum(p * distance(degrees - d) for _, d, p in spoken) for i, degrees, _ in spoken}
    if risks:
        assert risks[answer.expert] <= min(risks.values()) + 1e-5
