"""Measured profiles: counts, their file, and which of them are of something else by now."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from router.profiles import UNMEASURED_OUTPUT_TOKENS, Count, Profile, Profiles, stale, stale_aggregators


def measured(version: str = "v1", **fields: Any) -> Profile:
    """A profile of one answer."""
    known: dict[str, Any] = {"overall": Count(right=1, asked=1), "output_tokens": 3}
    return Profile(expert_version=version, engine_version="vllm-1", questions="q1", **(known | fields))


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
    """What was written is what is read, the folder is made, and nothing else is left in it."""
    path = tmp_path / "made" / "profiles.json"
    made = Profiles(experts={"ada": measured(skills={"s": Count()}, categories={"c": Count(right=1, asked=2)})})
    made.save(path)
    assert Profiles.load(path) == made
    assert [file.name for file in path.parent.iterdir()] == ["profiles.json"]


def test_a_file_that_cannot_be_written_stays_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The old profiles are whole until the new ones are, and no half file is left beside them."""
    path = tmp_path / "profiles.json"
    Profiles().save(path)

    def full(_: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="no space"):
        Profiles(experts={"ada": measured()}).save(path)
    assert Profiles.load(path) == Profiles()
    assert list(tmp_path.iterdir()) == [path]


def test_no_file_yet_means_no_profiles(tmp_path: Path) -> None:
    """`symposium profile` makes them from a running system, which must therefore start without."""
    assert Profiles.load(tmp_path / "none.json") == Profiles()


@pytest.mark.parametrize("text", ["", "[]", "{", '{"format": 2, "x": 1}', '{"experts": {"a": {}}}', '{"x": 1}'])
def test_another_file_is_refused_by_name(tmp_path: Path, text: str) -> None:
    """ValueError with the path, whatever is in the file."""
    path = tmp_path / "profiles.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="not a profile file") as caught:
        Profiles.load(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("number", [1, 3, "two"])
def test_a_file_of_another_format_is_refused_with_the_remedy(tmp_path: Path, number: object) -> None:
    """A running system makes profiles, and would not start with these: the way out begins by deleting them."""
    path = tmp_path / "profiles.json"
    path.write_text(json.dumps({"format": number, "experts": {}}))
    with pytest.raises(ValueError, match=f"format {number}, and this version reads format 2; delete it, then `sym"):
        Profiles.load(path)


def test_tokens_are_a_sum_and_their_mean_is_derived() -> None:
    """Over the answers that were counted; without any, what an unmeasured expert is taken to write."""
    assert measured(overall=Count(right=1, asked=4), output_tokens=10).mean_output_tokens == 2.5
    assert measured(overall=Count(), output_tokens=0).mean_output_tokens == UNMEASURED_OUTPUT_TOKENS


def test_new_profiles_replace_only_their_experts() -> None:
    """Who was not asked this time keeps what was measured before."""
    before = Profiles(experts={"ada": measured("old"), "bob": measured("old")})
    after = before.updated({"ada": measured("new"), "cat": measured("new")})
    assert {name: p.expert_version for name, p in after.experts.items()} == {"ada": "new", "bob": "old", "cat": "new"}


def test_who_answers_and_who_aggregates_are_measured_apart() -> None:
    """New profiles of one kind leave the other kind alone."""
    before = Profiles(experts={"ada": measured("1")}, aggregators={"ada": measured("2"), "agg": measured("2")})
    assert before.updated({"ada": measured("3")}) == Profiles(
        experts={"ada": measured("3")}, aggregators=before.aggregators
    )
    assert before.updated_aggregators({"ada": measured("3")}) == Profiles(
        experts=before.experts, aggregators={"ada": measured("3"), "agg": measured("2")}
    )


def test_a_file_without_aggregators_is_read(tmp_path: Path) -> None:
    """As it was written before they were measured: nobody is known to aggregate."""
    path = tmp_path / "profiles.json"
    path.write_text('{"format": 2, "experts": {}}')
    assert Profiles.load(path).aggregators == {}
    made = Profiles(aggregators={"agg": measured()})
    made.save(path)
    assert Profiles.load(path) == made


def test_an_aggregator_of_another_version_is_stale_by_itself() -> None:
    """Its profile as an expert is another matter."""
    profiles = Profiles(experts={"ada": measured("2")}, aggregators={"ada": measured("1"), "gone": measured("1")})
    assert stale_aggregators(profiles, {"ada": "2"}) == ("ada",)
    assert stale(profiles, {"ada": "2"}) == ()


def test_a_profile_of_another_version_is_stale() -> None:
    """An expert without a profile is not; nor is a profile of somebody who is gone."""
    profiles = Profiles(experts={"ada": measured("1"), "bob": measured("1"), "gone": measured("1")})
    assert stale(profiles, {"ada": "1", "bob": "2", "new": "1"}) == ("bob",)
