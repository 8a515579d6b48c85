"""An answer passed on as it comes: until its first word another expert may take it over, and leaving ends it."""

from __future__ import annotations

import pytest

from experts.errors import ExpertUnreachable
from router.call import Call
from tests.unit.make import query
from tests.unit.stage import END, World, down


async def relayed(world: World, *experts: str, read: int | None = None) -> tuple[str, str]:
    """Who answers and what it says, as a client of a stream hears it; it leaves after `read` chunks."""
    texts: list[str] = []
    async with world.dispatcher.relay(Call.of(query("hi")), experts, world.told.append) as live:
        while len(texts) != read and (chunk := await anext(live.chunks, None)) is not None:
            texts.append(chunk["choices"][0]["delta"]["content"])
    return live.expert, "".join(texts)


async def test_a_relayed_answer_passes_as_it_comes() -> None:
    """Its end is not told here: whoever reads the chunks knows when they are through."""
    world = await World().up()
    world.stage.says("ada", "4", "2", END)
    assert await relayed(world, "ada", "cy") == ("ada", "42")
    await world.nothing_is_left()
    assert (world.ends(), world.told) == ({"ada": "answered"}, [])


@pytest.mark.parametrize("hasty", [False, True])
async def test_before_its_first_word_a_relayed_expert_can_be_replaced(hasty: bool) -> None:
    """When it fails, and when it is late; the client does not notice."""
    world = await World(hasty=hasty).up()
    if not hasty:
        world.stage.says("ada", down)
    world.stage.says("cy", "42", END)
    assert await relayed(world, "ada", "cy") == ("cy", "42")
    assert world.heard() == {"ada": "cut" if hasty else "unreachable"}
    await world.nothing_is_left()


async def test_after_its_first_word_a_relayed_expert_cannot_be_replaced() -> None:
    """What was heard cannot be taken back: the error comes out of the chunks."""
    world = await World().up()
    world.stage.says("ada", "4", down)
    with pytest.raises(ExpertUnreachable):
        await relayed(world, "ada", "cy")
    assert world.stage.asked == ["ada"]
    await world.nothing_is_left()


async def test_where_nobody_speaks_the_last_error_is_raised() -> None:
    """All of them were told."""
    world = await World().up()
    for expert in ("ada", "cy"):
        world.stage.says(expert, down)
    with pytest.raises(ExpertUnreachable, match="'cy'"):
        await relayed(world, "ada", "cy", "dan")
    await world.nothing_is_left()
    assert world.heard() == world.ends() == {"ada": "unreachable", "cy": "unreachable"}


@pytest.mark.parametrize("read", [0, 1])
async def test_whoever_leaves_a_relayed_answer_aborts_it(read: int) -> None:
    """Also who has read nothing of it: the client that has gone meanwhile."""
    world = await World().up()
    world.stage.says("ada", "4", "2")
    await relayed(world, "ada", read=read)
    await world.nothing_is_left()
    assert world.ends() == {"ada": "cancelled"}
