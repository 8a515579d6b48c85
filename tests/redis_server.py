"""A real Redis, from Debian's package, for tests; those that need one are skipped where it is not installed."""

from __future__ import annotations

import pytest

from loadtest.redis_server import BINARY, redis_server

__all__ = ["BINARY", "needs_redis", "redis_server"]
needs_redis = pytest.mark.skipif(BINARY is None, reason="redis-server is not installed")
