"""`POST /v1/feedback`: whoever asked says once whether the answer was right. HTTP's shape only."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from router.admission import admit
from router.api.held import Held
from router.api.http import body_in_time
from router.api.schema_feedback import MAX_BYTES, Feedback, parse_feedback
from router.caller import Caller
from router.callers import check_scope
from router.errors import NotFound, SymposiumError
from router.events import FeedbackGiven
from router.registry import Judged
from router.service import Service

WRITTEN_S = 1.0  # so long it is waited for what this replica has still to write down
PAUSES_S = (0.0, 0.1, 0.4)  # before each look: another replica writes down what it has answered a moment later


class AlreadyGiven(SymposiumError):
    status, kind = 409, "invalid_request_error"


async def give_feedback(request: Request, caller: Caller, service: Service, held: Held) -> Response:
    """Raises SymposiumError or LedgerUnavailable."""
    check_scope(caller, "feedback")
    held.check_open()
    admit(caller, held.count, service.edition.config.server.limits.max_in_flight, service.clock())
    with held:
        given = parse_feedback(await body_in_time(request.receive, MAX_BYTES))
        judged = await _judged(service, given.request_id, caller.key, given.right)
    counted = not service.feedback.frozen
    edition = service.edition
    service.emit(FeedbackGiven(judged.asked.policy, judged.right, counted), edition)
    told = Feedback(request_id=given.request_id, right=judged.right, counted=counted)
    return JSONResponse(told.model_dump())


async def _judged(service: Service, request_id: str, source: str, right: bool) -> Judged:
    for pause_s in PAUSES_S:
        await asyncio.sleep(pause_s)
        with suppress(TimeoutError):
            await asyncio.wait_for(service.keeper.written(), WRITTEN_S)
        found = await service.registry.judge(request_id, source, right, service.now())
        if isinstance(found, Judged):
            return found
        if found == "done":
            raise AlreadyGiven("Feedback on this request was given already.", code="feedback_given")
    raise NotFound(
        "No routed request of that id was answered for this key lately.", code="request_not_found", param="request_id"
    )
