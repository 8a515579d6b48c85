"""The way down of a running symposium: no new requests, and a bounded time for those under way.

Serve's handle reaches every router replica, where an HTTP request reaches the one that the balancer chooses. Owns the
waiting; what a replica does when it is told is `router/api/held.py`.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time

from deploy.apps import ROUTER, ROUTER_DEPLOYMENT

POLL_S = 0.1
ASK_S = 2.0
FLUSH_S = 0.2  # for the last bytes, which the balancer still holds when the router has sent them

log = logging.getLogger(__name__)


def drained(limit_s: float, hurried: threading.Event) -> int:
    """Closes all router replicas and waits for the requests that they hold; how many were left at the end.

    Args:
        limit_s: for so long at most.
        hurried: once set, nothing is waited for any more.
    """
    return asyncio.run(_drained(limit_s, hurried))  # in an event loop: Serve's handles are made for one


async def _drained(limit_s: float, hurried: threading.Event) -> int:
    ends = time.monotonic() + limit_s
    # What is waited for is in other processes.
    while (held := await _closed()) != 0 and time.monotonic() < ends and not hurried.is_set():  # noqa: ASYNC110
        await asyncio.sleep(POLL_S)
    if not held:
        await asyncio.sleep(FLUSH_S)
    return held or 0


async def _closed() -> int | None:
    """Closes every replica that is there now; how many requests they hold. None: they did not answer in time."""
    from ray import serve
    from ray.exceptions import RayError
    from ray.serve.exceptions import RayServeException

    try:
        handle = serve.get_deployment_handle(ROUTER_DEPLOYMENT, ROUTER)
        told = await handle.broadcast("drain").results_async(timeout_s=ASK_S, return_exceptions=True)
    except TimeoutError:
        return None
    except (RayError, RayServeException):  # there are none
        log.warning("the router replicas cannot be reached", exc_info=True)
        return 0
    return sum(held for held in told if isinstance(held, int))
