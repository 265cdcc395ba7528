"""The hot routes: one job, or up to a thousand, read and submitted without anything between them and the core.

FastAPI spends most of a request's time on what these routes don't need. They validate with the same models, answer the
same documents and appear in the same OpenAPI.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from agentorch.api.access import Caller, Permission
from agentorch.api.problems import of_exception
from agentorch.api.services import Services, find_job, tenant_for
from agentorch.api.views.jobs import job_document, submitted_document
from agentorch.errors import Refused
from agentorch.model import limits
from agentorch.model.commands import SubmitJob
from agentorch.schemas.jobs import BatchRequest, JobRequest

_encode = msgspec.json.Encoder().encode
_encode_sorted = msgspec.json.Encoder(order="sorted").encode
_decode = msgspec.json.Decoder().decode
_JSON = "application/json"


async def submit(services: Services, request: Request) -> Response:
    """POST /v1/jobs: 201 once durable; 200 with the first job for a repeated Idempotency-Key."""
    caller = _submitter(services, request)
    body = await request.body()
    canonical = canonical_sha256(_decode_json(body))
    job = JobRequest.model_validate_json(body)
    now_ms = services.source.now_ms()
    spec = job.to_spec(now_ms)
    command = SubmitJob(
        tenant=tenant_for(caller, job.tenant),
        spec=spec,
        by=caller.by,
        idempotency_key=_idempotency_key(request),
        body_sha256=canonical,
        judged_seq=_judged_seq(request),
    )
    job_id, created = await services.source.ask(command)
    if not created:
        return await _known(services, caller, job_id)
    document = submitted_document(job_id, command.tenant, spec, now_ms)
    return Response(_encode(document), 201, {"location": f"/v1/jobs/{job_id}"}, _JSON)


async def submit_batch(services: Services, request: Request) -> Response:
    """POST /v1/jobs:batch: all are read before any is submitted; then each is accepted or refused by itself.

    With an Idempotency-Key, job number i of the batch has the key `KEY/i`.
    """
    caller = _submitter(services, request)
    body = await request.body()
    raw = _decode_json(body)
    batch = BatchRequest.model_validate_json(body)
    key = _idempotency_key(request, reserve=len("/999"))
    judged_seq = _judged_seq(request)
    now_ms = services.source.now_ms()
    commands = []
    for index, job in enumerate(batch.jobs):
        spec = job.to_spec(now_ms)
        commands.append(
            SubmitJob(
                tenant=tenant_for(caller, job.tenant),
                spec=spec,
                by=caller.by,
                idempotency_key=f"{key}/{index}" if key else "",
                body_sha256=canonical_sha256(raw["jobs"][index]),
                judged_seq=judged_seq,
            )
        )
    items = [_item(result) for result in await services.source.ask_all(commands)]
    created = sum(1 for item in items if item["status"] == 201)
    refused = sum(1 for item in items if item["problem"] is not None)
    document = {"items": items, "created": created, "refused": refused}
    return Response(_encode(document), 201 if created == len(items) else 200, media_type=_JSON)


def _item(result: tuple[str, bool] | Refused) -> dict[str, object]:
    if isinstance(result, Refused):
        answer = of_exception(result)
        return {"status": answer.status_code, "id": None, "problem": msgspec.Raw(bytes(answer.body))}
    job_id, created = result
    return {"status": 201 if created else 200, "id": job_id, "problem": None}


async def _known(services: Services, caller: Caller, job_id: str) -> Response:
    """The job that an Idempotency-Key already stands for, as it is now."""
    state = await services.source.view()
    found = find_job(state, caller, job_id)
    document = job_document(state, found, services.source.now_ms())
    await services.source.settled()
    return Response(document.model_dump_json(), 200, {"location": f"/v1/jobs/{job_id}"}, _JSON)


def _submitter(services: Services, request: Request) -> Caller:
    caller = services.keys.caller(request.headers.get("authorization"))
    if caller.job:
        raise Refused("forbidden", f"the token of {caller.job} speaks for that job alone")
    caller.need(Permission.jobs_write)
    return caller


def _idempotency_key(request: Request, reserve: int = 0) -> str:
    key = request.headers.get("idempotency-key", "")
    if len(key) > limits.IDEMPOTENCY_KEY_MAX_CHARS - reserve or "\0" in key:
        raise Refused("invalid", f"Idempotency-Key: at most {limits.IDEMPOTENCY_KEY_MAX_CHARS - reserve} characters")
    return key


def _judged_seq(request: Request) -> int | None:
    value = request.headers.get("if-match")
    if value is None:
        return None
    text = value.strip().strip('"')
    if not (text.isascii() and text.isdecimal() and len(text) < 16):
        raise Refused("invalid", "If-Match: expected the ledger sequence that a plan was judged on")
    return int(text)


def _decode_json(body: bytes) -> Any:
    try:
        return _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise HTTPException(400, f"the body is not JSON: {error}") from error


def canonical_sha256(document: Any) -> str:
    """Of a body as JSON means it: white space and the order of fields do not count."""
    return hashlib.sha256(_encode_sorted(document)).hexdigest()
