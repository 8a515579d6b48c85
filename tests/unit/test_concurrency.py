"""How many calls may be under way: what a window of delays does to the limit, and what it must not do."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.concurrency import LEAST_CALLS, LEAST_CALM, MOST_CALM, PROBE_ROUNDS, Call, Limit, after, begun, few
from router.config import Concurrency

SETTINGS = Concurrency(least=2, first=16, most=64, tolerance=2.0)
USUAL_S = 0.1
KNOWN = Limit(16.0, undisturbed_s=USUAL_S, seen=9)


def heard(limit: Limit, *calls: Call, now: float = 10.0, settings: Concurrency = SETTINGS) -> Limit:
    for call in calls:
        limit = after(limit, call, now, settings)
    return limit


def window(first_token_s: float, load: int = 16, duration_s: float | None = 1.0, sent_at: float = 9.0) -> list[Call]:
    """As many calls as a window of `KNOWN` holds."""
    return [Call(sent_at, load, first_token_s, duration_s)] * LEAST_CALLS


def test_it_begins_where_the_configuration_says() -> None:
    """Nothing is known, and nothing is probed before somebody presses."""
    assert begun(SETTINGS) == Limit(16.0)
    assert not begun(SETTINGS).probing


def test_it_grows_by_a_part_of_its_root_while_nothing_waits() -> None:
    """A delay within what is tolerated says that more may be well."""
    grown = heard(KNOWN, *window(1.9 * USUAL_S))
    assert grown.calls == pytest.approx(16 + 0.05 * 4)
    assert grown.changed_at == 10.0


def test_what_waits_inside_the_expert_is_taken_back_at_once() -> None:
    """By Little's law: of calls that take two seconds, with half a second too much delay, a quarter waits."""
    shrunk = heard(KNOWN, *window(USUAL_S + 0.5, duration_s=2.0))
    assert shrunk.calls == pytest.approx(16 * 0.75)


def test_less_than_one_call_that_waits_is_no_overload() -> None:
    """The delay of answers that take long may double and more by chance."""
    assert heard(KNOWN, *window(4 * USUAL_S, duration_s=10.0)).calls > 16.0


def test_it_grows_faster_with_each_window_in_a_row() -> None:
    """A limit that is far too low is found out soon; by its root at most."""
    limit, grown = KNOWN, list[float]()
    for now in range(10, 40):
        before = limit.calls
        while limit.changed_at < now:
            limit = heard(limit, Call(now, 64, USUAL_S, 1.0), now=now)
        grown.append((limit.calls - before) / before**0.5)
    assert grown[:4] == pytest.approx([0.05, 0.1, 0.15, 0.2])
    assert max(grown) <= 1.0 + 1e-9


def test_without_a_known_duration_it_is_the_delays_gradient() -> None:
    """Undisturbed / recent, once it is more than is tolerated."""
    strict = Concurrency(least=2, first=16, most=64, tolerance=1.2)
    assert heard(KNOWN, *window(0.15, duration_s=None), settings=strict).calls == pytest.approx(16 * USUAL_S / 0.15)


def test_a_window_halves_it_at_most() -> None:
    """One bad moment is not the end."""
    assert heard(KNOWN, *window(60.0)).calls == 8.0


@pytest.mark.parametrize("delay_s", [math.inf, 60000.0])
def test_it_stays_within_its_bounds(delay_s: float) -> None:
    """`least` and `most`, whatever is heard; other settings hold at once."""
    low, high = KNOWN, KNOWN
    for now in range(10, 200):
        if low.calls > 2:
            low = heard(low, *window(delay_s * 0.7**now, load=99, sent_at=now) * 4, now=now)
        high = heard(high, *window(USUAL_S, load=99, sent_at=now) * 4, now=now)
    assert (low.calls, high.calls) == (2.0, 64.0)
    assert high.within(Concurrency(least=1, first=1, most=8)).calls == 8.0


def test_it_does_not_grow_while_it_is_not_used() -> None:
    """That ten calls do well says nothing of sixteen."""
    assert heard(KNOWN, *window(USUAL_S, load=10)).calls == 16.0
    assert heard(KNOWN, *window(5.0, load=10)).calls < 16.0


def test_calls_from_before_the_last_change_count_no_more() -> None:
    """What they met was another limit's doing."""
    changed = heard(KNOWN, *window(60.0))
    assert heard(changed, *window(60.0, sent_at=9.9) * 9, now=11.0) == changed
    assert heard(changed, *window(60.0, sent_at=10.5), now=11.0).calls < changed.calls


def test_failures_count_by_their_share() -> None:
    """Half of the calls failing takes a quarter of the limit, however fast the others are."""
    half = [*window(USUAL_S)[: LEAST_CALLS // 2], *window(math.inf)[: LEAST_CALLS // 2]]
    assert heard(KNOWN, *half).calls == pytest.approx(16 * 0.75)
    assert heard(KNOWN, *window(math.inf)).calls == pytest.approx(16 * 0.5 * 0.5)


def test_a_busy_process_is_no_overload() -> None:
    """Some milliseconds more, of an expert that answers in one, are our own."""
    quick = Limit(16.0, undisturbed_s=0.001, seen=9)
    assert heard(quick, *window(0.008, duration_s=0.01)).calls > 16.0


def test_undisturbed_is_what_calls_take_when_few_are_under_way() -> None:
    """Midway from median to mean at first, as half of them may have waited; then their mean, with some weight."""
    calm = few(KNOWN, SETTINGS)
    assert calm == 4
    first = heard(Limit(16.0), *[Call(9.0, calm, first_s) for first_s in (0.1, 0.2, 0.3, 0.4)])
    assert first.undisturbed_s == pytest.approx((0.2 + 0.25) / 2)
    assert heard(KNOWN, *[Call(9.0, calm, 0.5)] * LEAST_CALM).undisturbed_s == pytest.approx(0.1 + 0.25 * 0.4)
    assert heard(KNOWN, *[Call(9.0, calm, math.inf)] * MOST_CALM).undisturbed_s == USUAL_S


def test_it_probes_before_it_judges() -> None:
    """Where no calm call was seen, few are sent; what they took ends the probe, and with it what was sent before."""
    pressed = heard(Limit(16.0), *window(0.4))
    assert (pressed.probing, pressed.calls) == (True, 16.0)
    seen = heard(pressed, *[Call(9.0, 4, 0.4)] * MOST_CALM)
    assert (seen.probing, seen.undisturbed_s, seen.changed_at) == (False, 0.4, 10.0)


def pressed_until_probing(limit: Limit, delay_s: float, load: int = 16) -> tuple[Limit, float]:
    """And the time it is by then."""
    now = 10.0
    while not limit.probing:
        limit, now = heard(limit, *window(delay_s, load=load, sent_at=now), now=now), now + 1
        assert now < 40
    return limit, now


def test_a_delay_that_a_lower_limit_does_not_change_is_looked_at_anew() -> None:
    """Longer prompts, a slower engine: the limit falls, is found to be innocent, and rises again."""
    limit, now = pressed_until_probing(KNOWN, 0.5)
    assert limit.calls < 12
    limit = heard(limit, *[Call(now, 1, 0.5)] * MOST_CALM, now=now)
    assert (limit.probing, limit.undisturbed_s) == (False, 0.5)
    assert heard(limit, *window(0.5, load=64, sent_at=now) * 3, now=now).calls > limit.calls


def test_at_its_lowest_it_is_looked_at_anew_too() -> None:
    """`least` cannot be lowered: what is met there again and again may be the expert's own."""
    assert pressed_until_probing(Limit(2.0, undisturbed_s=USUAL_S, seen=1), 5.0, load=2)[0].calls == 2.0


def test_what_was_not_seen_for_long_is_looked_at() -> None:
    """So that a delay that was learned wrongly does not stay; ever more seldom, the more often it was seen."""

    def calls_until_probe(seen: int) -> int:
        limit, now, calls = replace(KNOWN, seen=seen), 10.0, 0
        while not limit.probing:
            for call in window(0.25, sent_at=now):  # neither more nor fewer than now
                limit, calls = after(replace(limit, calls=16.0), call, now, SETTINGS), calls + 1
            now += 1
        return calls

    assert calls_until_probe(1) == pytest.approx(PROBE_ROUNDS * 16, rel=0.05)
    assert calls_until_probe(3) == pytest.approx(4 * PROBE_ROUNDS * 16, rel=0.05)


def test_a_delay_that_falls_with_the_limit_is_the_limits_doing() -> None:
    """What was known of the undisturbed one stays."""
    limit, now = KNOWN, 10.0
    for _ in range(20):
        inside = max(limit.calls - 4, 0.0) / 4  # waits behind four slots of a second each
        limit = heard(limit, *window(USUAL_S + inside, sent_at=now, duration_s=1 + inside) * 2, now=now)
        now += 1
    assert limit.undisturbed_s == pytest.approx(USUAL_S)
    assert 3 < limit.calls < 7


def test_a_fixed_limit_is_fixed() -> None:
    """least = most: whatever comes, and never a probe."""
    fixed = Concurrency(least=16, first=16, most=16)
    limit = begun(fixed)
    for delay_s in (0.1, 9.0, math.inf):
        for now in range(20):
            limit = heard(limit, *window(delay_s, sent_at=now), now=now, settings=fixed)
            assert (limit.calls, limit.probing) == (16.0, False)


CALLS = st.builds(
    Call,
    sent_at=st.floats(0, 100),
    load=st.integers(1, 80),
    first_token_s=st.floats(0, 1000) | st.just(math.inf),
    duration_s=st.none() | st.floats(0, 1000),
)


@given(st.lists(CALLS, max_size=200))
def test_nothing_that_is_heard_breaks_it(calls: list[Call]) -> None:
    """It stays a number within its bounds, and its windows stay short."""
    limit = begun(SETTINGS)
    for call in calls:
        limit = after(limit, call, call.sent_at + 1, SETTINGS)
        assert 2 <= limit.calls <= 64
        assert len(limit.calm) < MOST_CALM
        assert len(limit.pressed) <= 32
