"""A request's budget in its headers, for clients that cannot write into the body. HTTP shapes only, no policy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from starlette.types import Scope

from router.api.http import header_values
from router.errors import BadRequest
from router.records import Query

HEADERS: Mapping[str, str] = MappingProxyType(
    {
        "x-symposium-deadline-ms": "deadline_ms",
        "x-symposium-max-cost-usd": "max_cost_usd",
        "x-llm-d-slo-ttft-ms": "ttft_ms",  # llm-d's names
        "x-llm-d-slo-tpot-ms": "tpot_ms",
    }
)


def with_headers(query: Query, scope: Scope) -> Query:
    """The query with what its headers say besides: of two bounds on the same the tighter one.

    Raises:
        BadRequest: a header is no positive, finite number.
    """
    given = {name: header_values(scope, name) for name in HEADERS}
    found = {HEADERS[name]: min(_number(name, raw) for raw in values) for name, values in given.items() if values}
    if not found:
        return query
    said = {field: getattr(query.wish, field) for field in found}
    tighter: dict[str, Any] = {field: min(value, said[field] or value) for field, value in found.items()}
    return replace(query, wish=replace(query.wish, **tighter))


def _number(name: str, raw: str) -> float:
    try:
        value = float(raw)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise BadRequest(f"'{name}' must be a positive, finite number.", code="invalid_value", param=name)
    return value
