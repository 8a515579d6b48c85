"""What a configuration cannot reach: certain only when everybody who may be convened is measured."""

from __future__ import annotations

from typing import Any

import numpy as np
import yaml

from router.classify import Classifier
from router.config import Config
from router.fitted import Fitted
from router.profiles import Count, Profile, Profiles
from router.reach import Reached, reached
from router.skills import Vocabulary
from tests.unit.make import YAML

ASKED = Count(right=1, asked=10)


def fitted(*skills: str, labels: tuple[str, ...] = ("math", "text")) -> Fitted:
    vectors = np.eye(len(skills), dtype=np.float32)
    weights = np.zeros((len(labels), len(skills)), dtype=np.float32)
    classifier = Classifier(labels, weights, np.zeros(len(labels), dtype=np.float32), 1.0)
    return Fitted("minilm", classifier, Vocabulary(skills, vectors, vectors), 0.5, {})


def profile(*skills: str, categories: tuple[str, ...] = ("math", "text")) -> Profile:
    return Profile(
        expert_version="1",
        engine_version="1",
        questions="q",
        categories=dict.fromkeys(categories, ASKED),
        skills=dict.fromkeys(skills, ASKED) | {"never": Count()},
    )


def found(known: Fitted, profiles: dict[str, Profile], **changed: Any) -> Reached:
    config = Config.model_validate(yaml.safe_load(YAML) | changed)
    return reached(config, known, Profiles(experts=profiles))


def only(text: str) -> dict[str, Any]:
    """Policies of which the default one has only this expert."""
    return {"auto": {"experts": [text]}}


def test_what_somebody_was_measured_on_is_reached() -> None:
    """One expert of one policy is enough."""
    profiles = {"ada": profile("sums"), "bob": profile("rhymes")}
    assert found(fitted("sums", "rhymes"), profiles) == Reached((), ())
    policies = {"auto": {"experts": ["ada"]}, "other": {"experts": ["bob"]}}
    assert found(fitted("sums", "rhymes"), profiles, policies=policies) == Reached((), ())


def test_a_skill_that_nobody_was_measured_on_is_refused() -> None:
    """All are measured, so nobody will turn up who knows it; counts of nothing are no measurement."""
    ((path, why),) = found(fitted("sums", "never"), {"ada": profile("sums"), "bob": profile("sums")}).errors
    assert path == ("routing", "fitted")
    assert why == (
        "skills that nobody a policy may convene was measured on: never; run `symposium profile` with questions of "
        "them, or `symposium fit` without"
    )


def test_a_skill_of_an_expert_that_no_policy_convenes_is_refused() -> None:
    """The remedy names the expert."""
    profiles = {"ada": profile("sums"), "bob": profile("rhymes", "sums")}
    ((_, why),) = found(fitted("sums", "rhymes"), profiles, policies=only("ada")).errors
    assert "measured on: rhymes; bob was, so name it in a policy's `experts`" in why


def test_before_everybody_is_measured_it_is_a_warning() -> None:
    """A new expert may be the one that knows it: the configuration serves meanwhile."""
    result = found(fitted("sums", "rhymes"), {"ada": profile("sums")})
    assert result.errors == ()
    assert ["rhymes" in why for _, why in result.warnings] == [True, False]
    assert result.warnings[-1] == (("routing", "profiles"), "not measured yet: bob; run `symposium profile`")


def test_without_any_profile_one_line_says_so() -> None:
    """A new configuration is valid; a list of all its skills would help nobody."""
    result = found(fitted("sums", "rhymes"), {})
    assert (result.errors, len(result.warnings)) == ((), 1)


def test_categories_that_nobody_serves_are_refused() -> None:
    """Of the whole, and of a policy that says something about one."""
    profiles = {"ada": profile("sums", categories=("math",)), "bob": profile("sums")}
    ((path, why),) = found(fitted("sums"), profiles, policies=only("ada")).errors
    assert path == ("routing", "fitted")
    assert "categories that nobody a policy may convene was measured on: text; bob was" in why
    policies = {"auto": {}, "one": {"experts": ["ada"], "categories": {"text": "vote", "general": "vote"}}}
    (wrong,) = found(fitted("sums"), profiles, policies=policies).errors
    assert wrong == (("policies", "one", "categories", "text"), "none of the policy's experts was measured on it")


def test_categories_that_no_question_can_have_are_refused() -> None:
    """In a policy, and in what is assigned; measured or not. `general` is one."""
    routing = yaml.safe_load(YAML)["routing"]
    routing["assignment"] = {"forced": {"maths": "ada", "general": "ada"}, "forbidden": {"law": ["bob"]}}
    policies = {"auto": {"categories": {"txt": "vote", "general": "single"}}}
    assert found(fitted("sums"), {}, routing=routing, policies=policies).errors == (
        (("policies", "auto", "categories", "txt"), "unknown category 'txt'; did you mean 'text'?"),
        (("routing", "assignment", "forced", "maths"), "unknown category 'maths'; did you mean 'math'?"),
        (("routing", "assignment", "forbidden", "law"), "unknown category 'law'; known: general, math, text"),
    )
