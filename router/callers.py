"""From keys and tenants, as they are configured, to who asks; and what that one may ask for. Pure.

Must not know where keys are kept, or how one is shown.
"""

from __future__ import annotations

from collections.abc import Iterable

from router.caller import ANONYMOUS, Account, Caller
from router.config import ApiKey, Config, Grants, Tenant
from router.config_budgets import DEFAULT_TENANT, Scope
from router.errors import Forbidden, NotFound
from router.money import nanos


def caller_of(key: ApiKey, key_id: str, tenant_name: str, tenant: Tenant) -> Caller:
    """Whoever shows this key. Both levels bind: what either does not allow is not allowed.

    The tenant's account comes first and is always there; the key's only where something of it is bounded.
    """
    own = _account(f"key/{key_id}", key)
    return Caller(
        key=key_id,
        tenant=tenant_name,
        weight=tenant.weight,
        scopes=frozenset(key.scopes),
        policies=_both(tenant.policies, key.policies),
        experts=_both(tenant.experts, key.experts),
        accounts=(_account(f"tenant/{tenant_name}", tenant), *([own] if own != Account(own.id) else [])),
        budgets={"tenant": tenant.budget, "key": key.budget},
    )


def anonymous(config: Config) -> Caller:
    """Whoever asks where there are no keys: the tenant `default` pays, as far as that is configured."""
    tenant = config.tenant(DEFAULT_TENANT)
    return Caller(
        key=ANONYMOUS,
        tenant=DEFAULT_TENANT,
        weight=tenant.weight,
        policies=_both(tenant.policies, None),
        experts=_both(tenant.experts, None),
        accounts=(_account(f"tenant/{DEFAULT_TENANT}", tenant),),
        budgets={"tenant": tenant.budget},
    )


def check_scope(caller: Caller, scope: Scope) -> None:
    """Raises Forbidden, with the scope that the key lacks."""
    if scope not in caller.scopes:
        raise Forbidden(
            f"This API key is not for this: it lacks the scope '{scope}'.",
            code="missing_scope",
            details={"scope": scope},
        )


def check_model(caller: Caller, model: str, config: Config) -> None:
    """Raises NotFound where there is no such model, or it is none for this caller: both look the same."""
    if not may_ask(caller, model, config):
        raise NotFound(
            f"The model '{model}' does not exist. GET /v1/models lists them.", code="model_not_found", param="model"
        )


def may_ask(caller: Caller, model: str, config: Config) -> bool:
    if model in config.experts:
        return caller.experts is None or model in caller.experts
    return model in config.policies and (caller.policies is None or model in caller.policies)


def usable_experts(caller: Caller, experts: Iterable[str]) -> tuple[str, ...]:
    """Those that may be convened for this caller, in their order."""
    return tuple(name for name in experts if caller.experts is None or name in caller.experts)


def _account(name: str, grants: Grants) -> Account:
    day, month = grants.usd_per_day, grants.usd_per_month
    return Account(
        name,
        None if day is None else nanos(day),
        None if month is None else nanos(month),
        grants.requests_per_minute,
        grants.tokens_per_minute,
    )


def _both(one: tuple[str, ...] | None, other: tuple[str, ...] | None) -> frozenset[str] | None:
    """What both lists have; None is a list of everything."""
    if one is None or other is None:
        found = one if other is None else other
        return None if found is None else frozenset(found)
    return frozenset(one) & frozenset(other)
