"""The OpenAPI document against the application: what it promises is answered, and nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from fastapi.routing import APIRoute, iter_route_contexts
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from escrow_monitor.records.database import Database
from escrow_monitor.records.people import keys
from escrow_monitor.web.api.document import document_of, operation_id, operations, parameters_of
from escrow_monitor.web.api.reference import reference_of
from tests.web.test_web_authorization import TABLE, Court

REFERENCE = Path(__file__).parents[2] / "deploy" / "api.md"
PATH = "/api/v1/openapi.json"
CHECKS = (
    not_a_server_error, status_code_conformance, content_type_conformance, response_headers_conformance,
    response_schema_conformance, unsupported_method,
)
EXAMPLES = 40
ROUTES = sorted(
    f"{method} {path.replace(':path}', '}')}"
    for method, _, path in (route.partition(" ") for route in TABLE)
    if path.startswith("/api/v1/") and path != PATH
)


@pytest.fixture(scope="module")
def court(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Court]:
    path = tmp_path_factory.mktemp("openapi") / "court.db"
    shutil.copy(sqlite_template, path)
    database = Database(f"sqlite:///{path}")
    made = Court(database)
    made.world.key("everything", "admin")
    yield made
    database.close()


@pytest.fixture(scope="module")
def described(court: Court) -> Any:
    """The document, as a program reads it that was let in."""
    return schemathesis.openapi.from_asgi(PATH, court.site.app, headers=let_in(court))


def let_in(court: Court) -> dict[str, str]:
    return {"Authorization": f"Bearer {court.world.secrets['everything']}"}


@pytest.mark.slow
@pytest.mark.parametrize("route", ROUTES)
def test_every_answer_is_one_that_is_documented(route: str, described: Any, court: Court) -> None:
    method, _, path = route.partition(" ")
    operation = described[path][method]
    modes = (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE)

    _asked(operation, modes, let_in(court))


@pytest.mark.slow
@pytest.mark.parametrize("what", ["answers", "said-payments", "notes"])
def test_what_is_answered_to_an_institution_is_documented(what: str, described: Any, court: Court) -> None:
    """Nobody else may answer, so that nobody else gets so far."""
    if "of the school" not in court.world.secrets:
        with court.world.database.write() as session:
            _, court.world.secrets["of the school"] = keys.create(
                session, name="of the school", scopes=["read", "answer"], expires_at=None, now=court.world.now,
                owner="institution",
            )
    operation = described[f"/api/v1/cases/{{case_no}}/{what}"]["post"]
    modes = (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE)
    _asked(operation, modes, {"Authorization": f"Bearer {court.world.secrets['of the school']}"}, case_no="TF-1")


def _asked(operation: Any, modes: Any, headers: dict[str, str], **path: str) -> None:
    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(case=st.one_of([operation.as_strategy(generation_mode=mode) for mode in modes]))
    def asked(case: schemathesis.Case) -> None:
        # Of a wrong query the generator may leave nothing that can be sent: only of a body is it sure to be wrong.
        checks = [*CHECKS, negative_data_rejection] if "requestBody" in operation.definition.raw else list(CHECKS)
        case.path_parameters.update(path)
        case.call_and_validate(headers=headers, checks=checks)

    asked()


def test_every_operation_is_whole(court: Court) -> None:
    document = document_of(court.site.app)
    ids = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(ids) == len(set(ids)) == len(ROUTES)
    described = {tag["name"] for tag in document["tags"]}
    for path, method, operation in operations(document):
        where = f"{method} {path}"
        assert len(operation["summary"]) > 10, where
        assert set(operation["tags"]) <= described, where
        responses = operation["responses"]
        assert {"400", "401", "403", "429", "500", "503"} <= set(responses), where
        assert ("304" in responses) == (method == "get" and "application/json" in responses["200"]["content"]), where
        for status, answer in responses.items():
            assert answer["description"], (where, status)
            if status >= "400":
                assert list(answer["content"]) == ["application/problem+json"], (where, status)
        if method != "get":
            assert "idempotency-key" in [each["name"] for each in operation["parameters"]], where


def test_the_parameters_that_are_taken_are_those_of_the_document(court: Court) -> None:
    told = {
        operation["operationId"]: {each["name"] for each in operation.get("parameters", ()) if each["in"] == "query"}
        for _, _, operation in operations(document_of(court.site.app))
    }
    routes = [context.route for context in iter_route_contexts(court.site.app.routes)]
    taken = {operation_id(one): parameters_of(one) for one in routes if isinstance(one, APIRoute)}
    assert {name: taken[name] for name in told} == told


def test_examples_fit_what_they_are_examples_of(court: Court) -> None:
    document = document_of(court.site.app)
    schemas = document["components"]["schemas"]
    for name, shape in schemas.items():
        if "example" in shape:
            assert set(shape.get("required", ())) <= set(shape["example"]) <= set(shape["properties"]), name
    assert sum("example" in shape for shape in schemas.values()) >= 7


def test_the_reference_is_of_this_document(court: Court) -> None:
    """Made anew by: python -m escrow_monitor.web.api.reference < openapi.json > deploy/api.md"""
    assert reference_of(document_of(court.site.app)) == REFERENCE.read_text("utf-8")
