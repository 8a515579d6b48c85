"""Circuit breakers: when an expert is left out, when it is tried again, and that somebody always stays."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.breaker import HISTORY_CALLS, Breaker, Call, State, admits, after, asked, left_out, state
from router.config import Breakers

SETTINGS = Breakers(failures_in_a_row=3, slow_share=0.5, min_calls=8, window_s=30.0, open_s=5.0, max_open_s=20.0)
OK = Call("ok", 0.25, 1.0)
WHOLE = Call("ok", None, 60.0)  # an answer that came at once
LATE = Call("ok", 11.0, 12.0)
FAILED = Call("failed", None, 0.5)
STUCK = Call("failed", None, 60.0)
CUT = Call("cancelled", None, 2.0)
CUT_LATE = Call("cancelled", None, 11.0)
GONE = Call("cancelled", 0.25, 60.0)  # the client left while it was told
CALLS = st.builds(
    Call,
    st.sampled_from(("ok", "failed", "cancelled")),
    st.none() | st.integers(0, 20).map(float),
    st.integers(0, 40).map(float),
)
STEPS = st.lists(st.tuples(st.integers(0, 8), CALLS), max_size=60)  # seconds until it ends, the call
FAR = 1000.0  # before it no test begins: no call is older than the clock


def heard(calls: Iterable[Call], breaker: Breaker | None = None, *, now: float = FAR) -> Breaker:
    """The breaker after these calls, all ending now."""
    breaker = breaker or Breaker()
    for call in calls:
        breaker = after(breaker, call, now, SETTINGS)
    return breaker


def opened() -> Breaker:
    """Opened at FAR, until FAR + 5."""
    return heard([FAILED] * 3)


def probed(call: Call) -> tuple[Breaker, float]:
    """The breaker that was opened once, after a probe that ended like this; and when it ended."""
    sent = FAR + 5.0
    ended = sent + call.seconds
    return after(asked(opened(), sent), call, ended, SETTINGS), ended


def test_failures_in_a_row_open_it() -> None:
    """The third failure opens it, for `open_s`."""
    breaker = heard([FAILED] * 2)
    assert (state(breaker, FAR), admits(breaker, FAR, SETTINGS)) == ("closed", True)
    breaker = heard([FAILED], breaker)
    assert (state(breaker, FAR), breaker.open_until) == ("open", FAR + 5.0)
    assert not admits(breaker, FAR, SETTINGS)


@pytest.mark.parametrize("answer", [OK, LATE, WHOLE])
def test_an_answer_ends_the_row(answer: Call) -> None:
    """However late it came: two failures, an answer and two failures are no three in a row."""
    assert state(heard([FAILED, FAILED, answer, FAILED, FAILED]), FAR) == "closed"


@pytest.mark.parametrize("cut", [CUT, GONE, CUT_LATE])
def test_a_cut_call_is_no_answer(cut: Call) -> None:
    """It does not end a row of failures, nor is it one of them."""
    assert state(heard([FAILED, FAILED, cut]), FAR) == "closed"
    assert state(heard([FAILED, FAILED, cut, FAILED]), FAR) == "open"


def test_a_share_of_failures_opens_it() -> None:
    """Half of eight calls is enough, in any order; half of six says nothing yet."""
    assert state(heard([FAILED, OK] * 3), FAR) == "closed"
    assert state(heard([FAILED, OK] * 4), FAR) == "open"
    assert state(heard([OK, OK, FAILED] * 4), FAR) == "closed"


def test_a_share_is_reached_exactly() -> None:
    """11 of 20 are 0.55, though 0.55 × 20 is more than 11 to a computer."""
    settings = SETTINGS.model_copy(update={"failure_share": 0.55, "min_calls": 20})
    breaker = Breaker()
    for call in [*[FAILED, OK] * 9, FAILED, FAILED]:
        assert state(breaker, FAR) == "closed"
        breaker = after(breaker, call, FAR, settings)
    assert state(breaker, FAR) == "open"


@pytest.mark.parametrize("slow", [LATE, CUT_LATE, Call("cancelled", 11.0, 12.0)])
def test_a_share_of_slow_calls_opens_it(slow: Call) -> None:
    """Answered late, or cut after a wait for the first token that was too long already."""
    assert state(heard([slow, OK] * 3), FAR) == "closed"
    assert state(heard([slow, OK] * 4), FAR) == "open"


@pytest.mark.parametrize("fine", [Call("ok", 10.0, 60.0), WHOLE, OK])
def test_a_first_token_in_time_is_not_slow(fine: Call) -> None:
    """Up to the bound, however long the answer; and an answer without one is not taken to be late."""
    assert state(heard([fine] * 50), FAR) == "closed"


def test_a_failure_after_a_long_wait_is_slow_too() -> None:
    """Timeouts and late answers together make up the share of slow calls."""
    calls = [OK, STUCK, OK, LATE, OK, STUCK, OK]
    assert state(heard(calls), FAR) == "closed"
    assert state(heard([*calls, LATE]), FAR) == "open"


def test_what_is_older_than_the_window_is_forgotten() -> None:
    """Seven of eight calls were 30 s ago: too few are left for a share."""
    breaker = heard([OK, FAILED, OK, FAILED, OK, FAILED, OK])
    assert state(heard([FAILED], breaker, now=FAR + 29.0), FAR + 29.0) == "open"
    assert state(heard([FAILED], breaker, now=FAR + 30.0), FAR + 30.0) == "closed"


def test_an_open_breaker_is_half_open_when_its_wait_is_over() -> None:
    """By time alone; one call is let through, others while it is under way are not."""
    breaker, over = opened(), FAR + 5.0
    assert (state(breaker, over - 0.25), admits(breaker, over - 0.25, SETTINGS)) == ("open", False)
    assert (state(breaker, over), admits(breaker, over, SETTINGS)) == ("half_open", True)
    breaker = asked(breaker, over)
    assert (state(breaker, over), admits(breaker, over + 1.0, SETTINGS)) == ("half_open", False)


def test_a_probe_that_is_never_reported_is_given_up() -> None:
    """After `max_open_s` another one may be sent."""
    breaker = asked(opened(), FAR + 5.0)
    assert not admits(breaker, FAR + 24.75, SETTINGS)
    assert admits(breaker, FAR + 25.0, SETTINGS)
    assert not admits(asked(breaker, FAR + 25.0), FAR + 26.0, SETTINGS)


def test_being_asked_marks_nothing_but_a_probe() -> None:
    """A closed breaker has no probe, nor has an open one whose expert was kept in for want of others."""
    assert asked(Breaker(), FAR) == Breaker()
    assert asked(opened(), FAR + 4.0) == opened()


@pytest.mark.parametrize("answer", [OK, WHOLE])
def test_a_probe_that_is_answered_closes_it(answer: Call) -> None:
    """The past is forgotten: it takes as many failures as ever to open again, and the first wait."""
    breaker, now = probed(answer)
    assert (state(breaker, now), breaker.heard, breaker.failures_in_a_row) == ("closed", (), 0)
    assert state(heard([FAILED] * 2, breaker, now=now + 1.0), now + 1.0) == "closed"
    again = heard([FAILED] * 3, breaker, now=now + 1.0)
    assert again.open_until == now + 1.0 + 5.0


@pytest.mark.parametrize("bad", [FAILED, STUCK, LATE, CUT_LATE])
def test_a_probe_that_fails_or_is_slow_opens_it_again(bad: Call) -> None:
    """Each time for twice as long, up to `max_open_s`; and the next probe is free to be sent."""
    breaker, now = probed(bad)
    waits = []
    for _ in range(4):
        assert state(breaker, now) == "open"
        waits.append(breaker.open_until - now)
        sent = breaker.open_until
        assert admits(breaker, sent, SETTINGS)
        now = sent + bad.seconds
        breaker = after(asked(breaker, sent), bad, now, SETTINGS)
    assert waits == [10.0, 20.0, 20.0, 20.0]


def test_a_year_of_failed_probes_is_borne() -> None:
    """The wait doubles without overflowing."""
    breaker = opened()
    for _ in range(5000):
        breaker = after(asked(breaker, breaker.open_until), FAILED, breaker.open_until + 0.5, SETTINGS)
    assert breaker.openings == 5001


@pytest.mark.parametrize("cut", [CUT, GONE])
def test_a_probe_that_was_cut_in_time_frees_its_place(cut: Call) -> None:
    """It says nothing: the breaker stays half-open, and another probe may be sent."""
    breaker, now = probed(cut)
    assert (state(breaker, now), admits(breaker, now, SETTINGS)) == ("half_open", True)
    assert breaker.openings == 1


@pytest.mark.parametrize("late", [Call("ok", 0.25, 100.0), Call("failed", None, 100.0), Call("cancelled", 1.0, 100.0)])
@pytest.mark.parametrize("now", [FAR + 1.0, FAR + 5.0, FAR + 9.0])
def test_the_end_of_a_call_from_before_changes_nothing(late: Call, now: float) -> None:
    """Open or half-open, with a probe under way: an old call says how the expert was, not how it is."""
    breaker = asked(opened(), now)
    assert after(breaker, late, now, SETTINGS) == breaker


def test_failures_from_before_do_not_open_it_again() -> None:
    """Calls that hung when it opened time out after it has closed: they are not the expert's of today."""
    breaker, now = probed(OK)
    hung = Call("failed", None, now + 30.0 - FAR)
    assert state(heard([hung] * 50, breaker, now=now + 30.0), now + 30.0) == "closed"


def test_a_call_that_an_open_breaker_let_through_is_no_probe() -> None:
    """Kept in for want of others, it was sent before the wait was over: its end changes nothing."""
    breaker = opened()
    assert after(breaker, Call("ok", 0.25, 2.0), FAR + 6.0, SETTINGS) == breaker
    assert after(breaker, Call("ok", 0.0, 0.0), FAR + 4.9999, SETTINGS) == breaker


def test_clocks_that_round_do_not_lose_a_probe() -> None:
    """Sent at the very end of the wait, its start is computed a rounding error before it."""
    breaker = heard([FAILED] * 3, now=0.1)
    sent = breaker.open_until
    now = sent + 0.3
    assert now - (now - sent + 1e-9) < sent
    assert state(after(asked(breaker, sent), Call("ok", 0.1, now - sent + 1e-9), now, SETTINGS), now) == "closed"


@given(STEPS)
def test_states_change_only_as_they_may(steps: list[tuple[int, Call]]) -> None:
    """Closed by an answer in time alone, opened by a call that was not fine alone, never longer than `max_open_s`."""
    breaker, now = Breaker(), FAR
    for seconds, call in steps:
        now += seconds
        breaker = asked(breaker, now - min(seconds, call.seconds))
        before: State = state(breaker, now)
        next_ = after(breaker, call, now, SETTINGS)
        changed = (before, state(next_, now))
        if before == "open":
            assert next_ == breaker
        if changed == ("half_open", "closed"):
            assert call.outcome == "ok"
            assert (call.first_token_s or 0.0) <= SETTINGS.slow_first_token_s
        assert changed != ("closed", "half_open")
        assert next_.open_until <= now + SETTINGS.max_open_s
        breaker = next_


@given(STEPS)
def test_cut_calls_that_say_nothing_leave_no_trace(steps: list[tuple[int, Call]]) -> None:
    """With them or without them, what is known of the expert is the same."""
    with_them, without, now = Breaker(), Breaker(), FAR
    for seconds, call in steps:
        now += seconds
        without = after(without, call, now, SETTINGS)
        with_them = heard([CUT, GONE, call, CUT], with_them, now=now)
        assert with_them == without


@pytest.mark.parametrize(("min_calls", "most"), [(8, HISTORY_CALLS), (2 * HISTORY_CALLS, 2 * HISTORY_CALLS)])
def test_memory_is_bounded(min_calls: int, most: int) -> None:
    """However many calls end within the window the oldest are forgotten; but what the shares need is kept."""
    calls, breaker = [FAILED, OK, OK] * most, Breaker()
    for call in calls:
        breaker = after(breaker, call, FAR, SETTINGS.model_copy(update={"min_calls": min_calls}))
    assert [h.failed for h in breaker.heard] == [call.outcome == "failed" for call in calls[-most:]]


def test_open_breakers_leave_their_experts_out() -> None:
    """Of those that are able; half-open, an expert is in for the call that probes and out for the others."""
    breakers, over = {"ada": Breaker(), "bob": opened(), "cy": opened()}, FAR + 5.0
    assert left_out(breakers, ["ada", "bob"], FAR, SETTINGS) == {"bob"}
    assert left_out(breakers, [], FAR, SETTINGS) == frozenset()
    assert left_out(breakers, breakers, over, SETTINGS) == frozenset()
    breakers["bob"] = asked(breakers["bob"], over)
    assert left_out(breakers, breakers, over, SETTINGS) == {"bob"}


def test_when_all_are_open_those_stay_that_reopen_soonest() -> None:
    """By the end of the wait, then by name; one whose probe is under way comes first of all."""
    breakers = {name: heard([FAILED] * 3, now=FAR + at) for name, at in (("ada", 3.0), ("bob", 1.0), ("cy", 1.0))}
    now = FAR + 4.0
    assert left_out(breakers, breakers, now, SETTINGS) == {"ada", "cy"}
    two = SETTINGS.model_copy(update={"keep": 2})
    assert left_out(breakers, breakers, now, two) == {"ada"}
    breakers["dan"] = asked(heard([FAILED] * 3, now=FAR - 2.0), now)
    assert left_out(breakers, breakers, now, SETTINGS) == {"ada", "bob", "cy"}


@given(st.dictionaries(st.sampled_from("abcdefgh"), st.none() | st.integers(0, 10)), st.data(), st.integers(1, 5))
def test_never_are_too_few_left(since: dict[str, int | None], data: st.DataObject, keep: int) -> None:
    """At least `keep` of those that are able stay, or all if there are fewer; who is admitted always does."""
    settings, now = SETTINGS.model_copy(update={"keep": keep}), FAR + 10.0
    breakers = {e: Breaker() if at is None else heard([FAILED] * 3, now=FAR + at) for e, at in since.items()}
    for probing in data.draw(st.sets(st.sampled_from(sorted(since)))) if since else ():
        breakers[probing] = asked(breakers[probing], now)
    able = data.draw(st.lists(st.sampled_from(sorted(since)))) if since else []
    out = left_out(breakers, able, now, settings)
    stay = set(able) - out
    admitted = {e for e in able if admits(breakers[e], now, settings)}
    assert out <= set(able)
    assert admitted <= stay
    assert len(stay) == max(len(admitted), min(keep, len(set(able))))
    kept = [(breakers[e].open_until, e) for e in stay - admitted]
    assert all(k < (breakers[e].open_until, e) for k in kept for e in out)
