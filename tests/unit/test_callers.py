"""Who asks, as keys and tenants are configured: what both bind, which accounts there are, what may be asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from router.caller import ANONYMOUS, Account, Caller
from router.callers import anonymous, caller_of, check_model, check_scope, may_ask, usable_experts
from router.config import ApiKey, Budgets, Config, QueryBudget, Tenant
from router.config_file import load
from router.errors import Forbidden, NotFound
from tests.unit.make import YAML, yaml_file

DIGEST = "0" * 64


def key(**fields: Any) -> ApiKey:
    return ApiKey.model_validate({"name": "ci", "sha256": DIGEST, "tenant": "acme"} | fields)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    policies = "policies: {auto: {}, solo: {experts: [ada]}}\ntenants: {default: {experts: [ada], usd_per_day: 2}}\n"
    return load(yaml_file(tmp_path, YAML + policies))


def test_money_and_rates_become_accounts() -> None:
    """The tenant's first, then the key's; in whole nanodollars."""
    tenant = Tenant(usd_per_day=10, usd_per_month=0.1, requests_per_minute=60)
    made = caller_of(key(usd_per_day=0.3, tokens_per_minute=1000), "ci-1", "acme", tenant)
    assert made.accounts == (
        Account("tenant/acme", 10_000_000_000, 100_000_000, 60, None),
        Account("key/ci-1", 300_000_000, None, None, 1000),
    )
    assert (made.key, made.tenant) == ("ci-1", "acme")


def test_a_key_without_bounds_has_no_account() -> None:
    """The tenant always has one: usage is counted on it. Nothing at all may be spent where a bound is zero."""
    assert caller_of(key(), "ci-1", "acme", Tenant()).accounts == (Account("tenant/acme"),)
    assert caller_of(key(usd_per_day=0), "ci-1", "acme", Tenant()).accounts[1] == Account("key/ci-1", 0)


@pytest.mark.parametrize(
    ("of_tenant", "of_key", "both"),
    [
        (None, None, None),
        (("a", "b"), None, {"a", "b"}),
        (None, ("b",), {"b"}),
        (("a", "b"), ("b", "c"), {"b"}),
        (("a",), ("b",), set()),
        ((), None, set()),
    ],
)
def test_both_levels_bind(
    of_tenant: tuple[str, ...] | None, of_key: tuple[str, ...] | None, both: set[str] | None
) -> None:
    """What either does not allow is not allowed; no list allows everything, an empty one nothing."""
    made = caller_of(key(policies=of_key, experts=of_key), "ci", "acme", Tenant(policies=of_tenant, experts=of_tenant))
    wanted = None if both is None else frozenset(both)
    assert (made.policies, made.experts) == (wanted, wanted)


def test_budgets_scopes_and_weight_are_handed_on() -> None:
    """Each level with its own budgets; the weight is the tenant's."""
    of_key = Budgets(ceiling=QueryBudget(max_experts=1))
    made = caller_of(key(budget=of_key, scopes=("usage",)), "ci", "acme", Tenant(weight=3))
    assert made.budgets == {"tenant": Budgets(), "key": of_key}
    assert (made.weight, made.scopes) == (3.0, frozenset({"usage"}))


def test_who_asks_without_keys_is_of_the_default_tenant(config: Config) -> None:
    """With all scopes, and bound by that tenant where it is configured."""
    made = anonymous(config)
    assert (made.key, made.tenant, made.experts) == (ANONYMOUS, "default", frozenset({"ada"}))
    assert made.accounts == (Account("tenant/default", 2_000_000_000),)
    for scope in ("ask", "feedback", "usage"):
        check_scope(made, scope)


def test_a_missing_scope_is_named() -> None:
    """403, with the scope in the message and beside it."""
    made = caller_of(key(), "ci", "acme", Tenant())
    with pytest.raises(Forbidden, match="'usage'") as caught:
        check_scope(made, "usage")
    error = caught.value.body()["error"]
    assert (caught.value.status, error["code"], error["scope"]) == (403, "missing_scope", "usage")


def test_what_may_not_be_asked_looks_like_what_is_not_there(config: Config) -> None:
    """The same 404 for both, so that nobody learns names from it."""
    made = Caller(policies=frozenset({"solo"}), experts=frozenset({"ada"}))
    check_model(made, "solo", config)
    check_model(made, "ada", config)
    for name in ("auto", "bob", "nobody"):
        with pytest.raises(NotFound) as caught:
            check_model(made, name, config)
        assert caught.value.code == "model_not_found"
        assert caught.value.message == f"The model '{name}' does not exist. GET /v1/models lists them."
    assert not may_ask(Caller(), "nobody", config)


def test_experts_that_may_be_convened_keep_their_order() -> None:
    """Those of the caller's, or all."""
    assert usable_experts(Caller(experts=frozenset({"c", "a"})), ["a", "b", "c"]) == ("a", "c")
    assert usable_experts(Caller(), ["a", "b"]) == ("a", "b")
