"""The best panel: the search against all panels, what it leaves out, and how far from the best it says it may be."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.outlook import USUAL
from router.panel_search import FAR, Panel, Pool, Terms, best_panel, ceiling, undominated
from router.quality import expected_right

SEEDS = st.integers(0, 2**32 - 1)


def pool(seed: int, size: int, bounds: int = 2) -> Pool:
    """Experts of random quality, price and speed; some alike, some free, some hopeless."""
    rng = np.random.default_rng(seed)
    costs = rng.integers(0, 30, (bounds, size))
    return Pool(
        trust=rng.choice([0.0, 0.3, 0.45, 0.5, 0.6, 0.61, 0.7, 0.85], size),
        in_time=rng.choice([0.0, 0.4, 0.5, 0.9, 1.0, 1.0, 1.0], size),
        costs=costs,
        bounds=rng.integers(1, 80, bounds),
        usd_nanos=rng.integers(0, 20, size),
        wished=rng.random(size) < 0.5,
    )


def by_hand(of: Pool, terms: Terms) -> list[Panel]:
    """Every panel that fits."""
    found = []
    for size in range(2, terms.most + 1):
        for members in map(list, combinations(range(len(of.trust)), size)):
            if (of.costs[:, members].sum(axis=1) > of.bounds).any():
                continue
            if of.in_time[members].min() < USUAL:
                continue
            one = of.trust[members][None], of.in_time[members][None]
            right = float(expected_right(*one, terms.alternatives, equal=terms.equal)[0])
            worth, usd = round(min(right, terms.cap), 12), int(of.usd_nanos[members].sum())
            found.append(Panel(tuple(members), worth, usd, not of.wished[members].all()))
    return found


@given(SEEDS, st.integers(2, 8), st.integers(2, 5), st.floats(0.3, 1), st.booleans())
@settings(max_examples=200)
def test_of_a_small_pool_the_best_panel_is_found(seed: int, size: int, most: int, cap: float, equal: bool) -> None:
    """As good as the best of all panels, and of equally good ones one of the wish's experts; the bound is that."""
    of, terms = pool(seed, size), Terms(most, cap, 2.0, equal)
    found, least = best_panel(of, terms)
    every = by_hand(of, terms)
    if found is None:
        assert not every
        return
    best = max(every, key=lambda panel: (panel.worth, not panel.outsiders))
    assert found.worth == pytest.approx(best.worth, abs=1e-9)
    assert found.outsiders == best.outsiders
    assert found in every
    assert least == found.worth


@given(SEEDS, st.integers(2, 8), st.floats(0.05, 0.9))
@settings(max_examples=200)
def test_what_is_worth_enough_is_chosen_by_price(seed: int, size: int, enough: float) -> None:
    """The cheapest panel that reaches it; where none does, the best."""
    of, terms = pool(seed, size), Terms(4, 1.0, 2.0, enough=enough)
    found, _ = best_panel(of, terms)
    every = by_hand(of, terms)
    reaching = [panel for panel in every if panel.worth >= enough]
    if reaching:
        assert found is not None
        assert found.usd_nanos == min(panel.usd_nanos for panel in reaching)
        assert found.worth >= enough
    elif every:
        assert found is not None
        assert found.worth == pytest.approx(max(panel.worth for panel in every), abs=1e-9)


@given(SEEDS, st.integers(2, 9), st.integers(2, 5))
@settings(max_examples=100)
def test_the_ceiling_is_above_every_panel(seed: int, size: int, most: int) -> None:
    """It is stated as the bound of what was missed, so it must hold; with any number of bounds."""
    for bounds in (0, 1, 3):
        of, terms = pool(seed, size, bounds), Terms(most, 0.8, 2.0)
        assert ceiling(of, terms) >= max((panel.worth for panel in by_hand(of, terms)), default=0.0) - 1e-9


@given(SEEDS, st.integers(16, 32))
@settings(max_examples=25, deadline=None)
def test_of_a_large_pool_the_bound_holds(seed: int, size: int) -> None:
    """What it finds fits, and no triple is worth more than what is found and the gap that is stated."""
    of, terms = pool(seed, size), Terms(3, 1.0, 2.0)
    found, most = best_panel(of, Terms(5, 1.0, 2.0))
    triples = by_hand(of, terms)
    if found is not None:
        members = list(found.members)
        assert (of.costs[:, members].sum(axis=1) <= of.bounds).all()
        assert most >= found.worth
    assert max((panel.worth for panel in triples), default=0.0) <= most + 1e-9


def test_an_expert_is_left_out_once_as_many_dominate_it_as_a_panel_holds() -> None:
    """Of three who are alike two are enough for pairs; what is wished for is not dominated by what is not."""
    alike = Pool(
        trust=np.full(3, 0.6),
        in_time=np.ones(3),
        costs=np.ones((1, 3), dtype=np.int64),
        bounds=np.array([9]),
        usd_nanos=np.array([1, 2, 3]),
        wished=np.array([False, False, False]),
    )
    assert undominated(alike, 2, by_price=False).tolist() == [0, 1]
    assert undominated(alike, 3, by_price=False).tolist() == [0, 1, 2]
    third = Pool(alike.trust, alike.in_time, alike.costs, alike.bounds, alike.usd_nanos, np.array([False, False, True]))
    assert undominated(third, 1, by_price=False).tolist() == [2]


def test_sums_of_the_largest_costs_do_not_overflow() -> None:
    """Beyond FAR nothing is paid for, however large the bound."""
    dear = Pool(
        trust=np.full(6, 0.6),
        in_time=np.ones(6),
        costs=np.full((1, 6), FAR + 1),
        bounds=np.array([FAR]),
        usd_nanos=np.full(6, FAR),
        wished=np.ones(6, dtype=bool),
    )
    assert best_panel(dear, Terms(5, 1.0, 2.0)) == (None, 0.0)
