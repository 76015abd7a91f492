"""The OpenAPI document of the API: every operation named, every status it can answer with, and examples."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import BaseModel

from escrow_monitor.web.problems import PROBLEM_JSON

VERSION = "1"
PREFIX = "/api/v1"
METHODS = ("get", "post", "put", "patch", "delete")
TITLE = "escrow-monitor"
DESCRIPTION = (
    "What the command line does, as JSON. Send an API key as `Authorization: Bearer KEY`. Money is decimal text in the "
    "currency's main unit (`\"3500.00\"`), beside it integer minor units in a field that ends in `_fen`; null is "
    "unknown, never zero. Instants are RFC 3339 with a zone, dates ISO 8601. A list answers `items` and `after`: ask "
    "again with `after` for what follows, until it is null. Every answer to a GET has an ETag: sent as `If-None-Match` "
    "it is answered 304 while nothing changed. Every write takes an `Idempotency-Key`: the same key and request get "
    "the same answer, the same key with another request 409. Long work answers 202 with a `Location` that says how far "
    "it is and what came of it. Every error is `application/problem+json`; what is not "
    "yours to see is 404, as what does not exist. Who asks too often gets 429 with `Retry-After`."
)
_TAGS = {
    "accounts": "Supervised accounts with their newest balance and standing.",
    "institutions": "The providers whose prepaid fees are held.",
    "outlooks": "What the closure watch says.",
    "alerts": "What is open now, and what people decided about it.",
    "silences": "Who is not to be called about what.",
    "deliveries": "What went to which channel.",
    "banks": "How each bank answered.",
    "contracts": "Contracts with families and what they come to.",
    "refunds": "What is due back under a contract.",
    "cases": "Refund disputes.",
    "matches": "Bank lines held against charges and refunds.",
    "reconciliations": "What families are owed against what is in the bank.",
    "returns": "What a month was, for whoever stands above.",
    "packs": "All that is recorded of one institution, to hand over.",
    "imports": "Files, loaded whole or not at all.",
    "statements": "Statement files, which days they cover, and what they booked.",
    "backtests": "What the closure watch and other policies would have said of a past.",
    "policies": "The rules as data.",
    "audit": "The tamper-evident record.",
    "keys": "API keys.",
    "users": "People who sign in.",
    "rounds": "What the clock started.",
}
_PROBLEM_REF = {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}}
_PROBLEM = {
    "type": "object",
    "title": "Problem",
    "description": "What is wrong and what to do (RFC 9457). `errors` lists each wrong parameter, row or reason.",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"}, "title": {"type": "string"}, "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {"type": "array", "items": {"type": "object"}},
    },
    "example": {
        "type": "about:blank", "title": "Not Found", "status": 404,
        "detail": "no account '6222021234500000000' is registered",
    },
}
_SAID = {
    400: "the request cannot be read", 401: "no valid API key", 403: "the key lacks the scope",
    404: "there is no such thing, or it is not yours to see",
    409: "this cannot be done now, or the Idempotency-Key stands for another request",
    413: "the body is too large", 415: "the body is not JSON", 422: "a parameter or field is wrong",
    429: "too many requests: wait as long as Retry-After says", 500: "the server failed; its log says why",
    503: "the records cannot be read",
}
_EVERYWHERE = (400, 401, 403, 429, 500, 503)
_EXAMPLES: dict[str, Any] = {
    "account_no": "6222021234500000000", "uscc": "91510300MA60000003", "alert_id": "01JD9Z6Q3V5W8X0Y2A4B6C8D0E",
    "contract_no": "HT-0107", "case_no": "TF-0107", "kind": "contracts", "delivery_id": "1000-webhook",
    "silence_id": "S-1", "request_id": "R-1", "district": "5103", "bank": "自贡银行", "filename": "contracts.csv",
    "month": "2026-10", "work_id": "W0123456789abcdef",
    "on": "2026-11-20", "limit": 100, "policy_id": "cn-510300", "seq": 1, "key_id": "K-1", "name": "wang",
}
_BODIES: dict[str, Any] = {
    "AskedUntil": {"until": "2026-11-21T09:00:00+08:00", "note": "已电话联系，明早补足"},
    "AskedAcceptance": {"note": "政府账户代管，已核实", "confirm": False},
    "AskedTakeBack": {"decision": "snooze", "note": "情况有变"},
    "AskedSilence": {
        "matchers": {"bank": "自贡银行"}, "reason": "银行系统升级", "ends_at": "2026-11-21T09:00:00+08:00",
    },
    "AskedResend": {"channel": "webhook"},
    "AskedUser": {"name": "wang", "role": "staff", "display_name": "王芳", "districts": ["5103"]},
    "AskedPlace": {"role": "regulator", "districts": ["5103"]},
    "AskedOpen": {"open": False},
    "AskedKey": {"name": "数据大屏", "scopes": ["read"], "days": 90},
    "MoveBody": {"move": "gather", "reason": "核对合同与流水"},
    "AskedMatch": {
        "lines": ["entry:6222021234500000000/2026-11-18/3f0c"], "items": ["charge:J-0107"],
        "reason": "家长代付，金额相符",
    },
    "AskedUndo": {"item": "charge:J-0107", "reason": "付款人有误"},
    "AskedBackTestView": {"past": "city", "policies": ["floor:0.30"]},
    "AskedReconciliationView": {"uscc": "91510300MA60000003", "day": "2026-11-19"},
}


def document_of(app: FastAPI) -> dict[str, Any]:
    """The document, made once for an application."""
    if app.openapi_schema is None:
        schema = get_openapi(title=TITLE, version=VERSION, routes=app.routes, description=DESCRIPTION)
        components = schema.setdefault("components", {})
        components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        schemas = components.setdefault("schemas", {})
        schemas["Problem"] = _PROBLEM
        for name, example in _BODIES.items():
            if name in schemas:
                schemas[name]["example"] = example
        schema["security"] = [{"key": []}]
        used = set()
        for _, method, operation in operations(schema):
            _complete(method, operation)
            used.update(operation.get("tags", ()))
        schema["tags"] = [{"name": name, "description": said} for name, said in _TAGS.items() if name in used]
        app.openapi_schema = schema
    return app.openapi_schema


def parameters_of(route: APIRoute) -> frozenset[str]:
    """The names that the query of an operation may have. The document, which takes a second to make, is not asked."""
    return frozenset(_query_names(route.dependant))


def _query_names(dependant: Dependant) -> Iterator[str]:
    for field in dependant.query_params:
        shape = field.field_info.annotation
        if isinstance(shape, type) and issubclass(shape, BaseModel):
            yield from (one.alias or name for name, one in shape.model_fields.items())
        else:
            yield field.alias
    for one in dependant.dependencies:
        yield from _query_names(one)


def operations(schema: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Each `(path, method, operation)` in order."""
    for path, found in schema["paths"].items():
        for method in METHODS:
            if method in found:
                yield path, method, found[method]


def operation_id(route: APIRoute) -> str:
    """What an operation is called: `get_accounts`, `post_cases_by_case_no_moves`. Names are promises."""
    parts = route.path_format.removeprefix(PREFIX).strip("/").split("/")
    path = "_".join(f"by_{part.strip('{}')}" if part.startswith("{") else part for part in parts)
    method = min(route.methods or ("GET",)).lower()
    return f"{method}_{path}".replace("-", "_").replace(".", "_")


def _complete(method: str, operation: dict[str, Any]) -> None:
    """Say what every operation of its kind can answer, in the words of this one where it has some."""
    first, _, rest = operation.get("description", "").partition("\n")
    operation["summary"] = first.strip().rstrip(".")
    if not rest.strip():
        operation.pop("description", None)
    for parameter in operation.get("parameters", ()):
        _say_parameter(parameter)
    responses = operation["responses"]
    for status in sorted({*_EVERYWHERE, *_of(operation), *(int(code) for code in responses)}):
        found = responses.setdefault(str(status), {"description": _SAID.get(status, "")})
        if status >= 400:
            found["content"] = _PROBLEM_REF
    responses["429"]["headers"] = {"Retry-After": {"description": "seconds", "schema": {"type": "integer"}}}
    if method == "get" and "application/json" in responses["200"]["content"]:
        responses["200"].setdefault("headers", {})["ETag"] = {"schema": {"type": "string"}}
        responses["304"] = {"description": "nothing changed since the answer that If-None-Match names"}
    operation["responses"] = dict(sorted(responses.items()))


def _of(operation: dict[str, Any]) -> Iterator[int]:
    """The errors that belong to what it takes."""
    places = [parameter["in"] for parameter in operation.get("parameters", ())]
    if "path" in places:
        yield 404
    if places or "requestBody" in operation:
        yield 422
    if "header" in places:  # an idempotency key
        yield 409
    if "requestBody" in operation:
        yield 413
        if "application/json" in operation["requestBody"]["content"]:
            yield 415


def _say_parameter(parameter: dict[str, Any]) -> None:
    """Its example; and no null where a text cannot be one."""
    schema = parameter["schema"]
    choices = [each for each in schema.get("anyOf", ()) if each.get("type") != "null"]
    if "anyOf" in schema and len(choices) == 1 and parameter["in"] != "path":
        title, default = schema.get("title"), schema.get("default")
        parameter["schema"] = schema = {**choices[0]} if "$ref" in choices[0] else {**choices[0], "title": title}
        if default is not None:
            schema["default"] = default
    if parameter["name"] in _EXAMPLES and "$ref" not in schema:
        parameter["example"] = _EXAMPLES[parameter["name"]]
