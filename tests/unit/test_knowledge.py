"""What one configuration knows: who may write one answer of several, what legs cost, what is refused at the start."""

from __future__ import annotations

from pathlib import Path

import pytest

from experts.version import expert_versions
from router.aggregators import aggregator_rate
from router.assign import assign
from router.assigned import problem_for
from router.config_file import load
from router.knowledge import Knowledge
from router.panels import CHANCE
from router.profiles import Count, Profile, Profiles
from router.records import Usage
from tests.api.world import KeywordEmbedder, fitted
from tests.unit.make import YAML, yaml_file

BOB = "  bob:\n    base_url: http://bob.test/v1\n    model: bob-1\n    context_tokens: 1000\n"
PRICE = "    price: {input_usd_per_mtok: 1.0, output_usd_per_mtok: 2.0}\n"
TEXT = YAML.replace("routing:\n", f"routing:\n  embedder: {{model: {KeywordEmbedder.name}}}\n").replace(
    BOB,
    BOB.replace("bob", "eve").replace("    context", "    part: aggregator\n    context")
    + PRICE
    + BOB.replace("bob", "zoe").replace("    context", "    part: aggregator\n    context")
    + PRICE
    + BOB,
)


def measured(right: int, version: str = "1", **categories: int) -> Profile:
    """An expert that made so many of 100 final answers right, and so many of 100 in categories."""
    return Profile(
        expert_version=version,
        engine_version="e",
        questions="q",
        overall=Count(right=right, asked=100),
        categories={name: Count(right=n, asked=100) for name, n in categories.items()},
    )


def knowledge(folder: Path, text: str = TEXT, **aggregators: Profile) -> Knowledge:
    """Of `ada` (the general expert) and `bob`, and of `eve` and `zoe`, whose part it is to aggregate."""
    fitted().save(folder / "fitted.npz")
    Profiles(aggregators=aggregators).save(folder / "profiles.json")
    return Knowledge.load(load(yaml_file(folder, text)))


def test_where_nobody_was_measured_those_write_whose_part_it_is(tmp_path: Path) -> None:
    """Then the general expert; nothing is known of how often they are right, and nobody else is asked to."""
    found = knowledge(tmp_path).synthesizers["sums"]
    assert list(found.items()) == [("eve", None), ("zoe", None), ("ada", None)]


def test_measured_ones_write_the_best_in_the_category_first(tmp_path: Path) -> None:
    """Whatever their part; with the rate that says how often they are right. Who was not measured is not asked."""
    known = knowledge(tmp_path, bob=measured(70, sums=90), eve=measured(80, sums=60), ada=measured(60, sums=70))
    found = known.synthesizers["sums"]
    assert list(found) == ["bob", "ada", "eve"]
    assert list(known.synthesizers["people"]) == ["eve", "bob", "ada"]
    strength = known.config.routing.prior_strength
    assert (
        found["bob"] == aggregator_rate(known.profiles, "bob", "sums", strength) != known.synthesizers["people"]["bob"]
    )


def test_who_does_no_better_than_chance_does_not_write(tmp_path: Path) -> None:
    """Drawing one of the responses would be as good; where nobody does better, nobody writes."""
    worse = measured(int(100 * CHANCE) - 20)
    assert list(knowledge(tmp_path, bob=measured(90), eve=worse).synthesizers["sums"]) == ["bob"]
    assert knowledge(tmp_path, bob=worse, eve=worse).synthesizers["sums"] == {}


def test_a_profile_of_nobody_who_is_configured_does_not_count(tmp_path: Path) -> None:
    """Its expert is gone: the others are as unmeasured as without it."""
    assert list(knowledge(tmp_path, gone=measured(90)).synthesizers["sums"]) == ["eve", "zoe", "ada"]


# ada is right on 90 of 100 sums and 80 of 100 people, bob on 60 and 85; ada costs a thousand times as much.
MARKET = {"ada": measured(85, sums=90, people=80), "bob": measured(72, sums=60, people=85)}
DEAR = (
    YAML.replace("ada-1\n", "ada-1\n    parameters_b: 70\n")
    .replace("bob-1\n", "bob-1\n    parameters_b: 7\n")
    .replace("input_usd_per_mtok: 1.0", "input_usd_per_mtok: 1000.0", 1)
)


def assigned(folder: Path, wanted: str = "", recruit: str = "assigned") -> dict[str, str]:
    """Who serves what, with the given lines of `routing.assignment`."""
    fitted().save(folder / "fitted.npz")
    Profiles(experts=MARKET).save(folder / "profiles.json")
    text = DEAR.replace("routing:\n", f"routing:\n  embedder: {{model: {KeywordEmbedder.name}}}\n")
    text += f"  assignment: {{{wanted}}}\npolicies: {{auto: {{recruit: {recruit}}}}}\n"
    return dict(Knowledge.load(load(yaml_file(folder, text))).assigned)


@pytest.mark.parametrize(
    ("wanted", "sums", "people"),
    [
        ("", "ada", "bob"),
        ("resident_b: 70", "ada", "ada"),
        ("resident_b: 69", "bob", "bob"),
        ("usd_per_query: 0.001", "bob", "bob"),
        ("forced: {sums: bob}", "bob", "bob"),
        ("forbidden: {people: [bob]}", "ada", "ada"),
    ],
)
def test_categories_are_assigned_as_the_configuration_wants(
    tmp_path: Path, wanted: str, sums: str, people: str
) -> None:
    """To the best measured, within budgets, and but for pairs that must or must not be."""
    assert assigned(tmp_path, wanted) == {"sums": sums, "people": people}


def test_what_adapters_share_is_resident_once(tmp_path: Path) -> None:
    """Two adapters on one base of 7 B hold 7.2 B together; a base of its own would be 14.2."""
    expert = "context_tokens: 10, price: {input_usd_per_mtok: 1, output_usd_per_mtok: 1}"
    homes = {
        "ada": "engine: adapters, lora: org/ada, parameters_b: 0.1",
        "bob": "engine: adapters, lora: org/bob, parameters_b: 0.1",
        "cy": "engine: alone",
    }
    text = "version: 1\nengines:\n" + "".join(
        f"  {name}: {{model: org/{name}, accelerator: cpu, parameters_b: 7}}\n" for name in ("adapters", "alone")
    )
    text += "experts:\n" + "".join(f"  {name}: {{{home}, {expert}}}\n" for name, home in homes.items())
    text += "routing: {fitted: fitted.npz, profiles: profiles.json, general_expert: cy}\n"
    config, profiles = load(yaml_file(tmp_path, text)), Profiles(experts=MARKET | {"cy": measured(1, sums=1, people=1)})
    problem = problem_for(config, profiles)
    assert not config.sizeless
    assert assign(problem, max_size=7.3).experts == {"sums": "ada", "people": "bob"}
    assert assign(problem, max_size=7.15).resident_size == pytest.approx(7.1)
    assert assign(problem, max_size=7.05).experts == {"sums": "cy", "people": "cy"}


def test_nobody_is_assigned_where_no_policy_recruits_by_it(tmp_path: Path) -> None:
    """Nor where nobody was measured yet: such a symposium must start, to be measured."""
    assert assigned(tmp_path, recruit="category") == {}
    text = TEXT + "policies: {auto: {recruit: assigned}}\n"
    assert knowledge(tmp_path, text).assigned == {}


@pytest.mark.parametrize(
    ("wanted", "problem"),
    [
        ("resident_b: 6", r"routing\.assignment: a resident size of 6 cannot be kept: the smallest that can is 7"),
        ("forced: {maths: ada}", r"routing\.assignment: maths=ada: there is no such category"),
    ],
)
def test_an_assignment_that_cannot_be_is_refused_at_the_start(tmp_path: Path, wanted: str, problem: str) -> None:
    """With what could be kept."""
    with pytest.raises(ValueError, match=problem):
        assigned(tmp_path, wanted)


def test_an_outdated_profile_shows(tmp_path: Path) -> None:
    """Another version was measured as aggregator than the one that answers now."""
    config = load(yaml_file(tmp_path, TEXT))
    now = expert_versions(config.experts, config.engines)["bob"]
    known = knowledge(tmp_path, bob=measured(90, now), eve=measured(90, "old"))
    assert (known.stale_aggregators, known.stale) == (("eve",), frozenset())


def test_a_leg_costs_its_tokens_at_its_experts_price(tmp_path: Path) -> None:
    """Prompt and output apart, per million; also of what was cut or failed."""
    assert knowledge(tmp_path).usd("ada", Usage(1000, 500)) == pytest.approx(0.002)


def test_a_policy_for_an_unknown_category_is_refused_by_name(tmp_path: Path) -> None:
    """At the start: it would never be acted on. The message says where it stands and what is known."""
    text = TEXT + "policies: {auto: {categories: {sums: vote, maths: single}}}\n"
    with pytest.raises(ValueError, match=r"policies\.auto\.categories: unknown 'maths'; .* people, sums, general"):
        knowledge(tmp_path, text)


def test_general_is_a_category_too(tmp_path: Path) -> None:
    """It is what questions are about that nothing else is said of; fitted or not."""
    text = TEXT + "policies: {auto: {categories: {general: vote, people: single}}}\n"
    assert knowledge(tmp_path, text).config.policies["auto"].categories["general"] == "vote"


def test_the_version_changes_with_what_was_learned(tmp_path: Path) -> None:
    """The configuration is the same, but its decisions are not."""
    one, other = knowledge(tmp_path), knowledge(tmp_path, bob=measured(90))
    assert one.version != other.version
    assert knowledge(tmp_path).version == one.version
