"""Jobs of a benchmark over few connections."""

from __future__ import annotations

import anyio
import pytest

from loadtest.pool import pooled


async def test_a_pool_keeps_order_and_bounds() -> None:
    """Results stand where their jobs stood, however long each took; the first error ends all."""
    under_way, most = 0, 0

    async def work(job: int) -> int:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await anyio.sleep(0.001 * abs(5 - job))
        under_way -= 1
        if job == 9:
            raise ValueError("nine")
        return job * job

    assert await pooled([0, 1, 2, 3, 4], 2, work) == [0, 1, 4, 9, 16]
    assert most == 2
    with pytest.raises(ValueError, match="nine"):
        await pooled([9, 1], 2, work)
    assert await pooled([], 2, work) == []
