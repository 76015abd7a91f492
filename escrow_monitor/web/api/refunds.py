"""`/api/v1/contracts/{no}/refund-quote` and `/refund-statement`: what is due back, as data and as a page to print."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import HTMLResponse, Response

from escrow_monitor.actions.quote_refund import Quoted, RecordsImpossible, must_be_possible, quote_refund
from escrow_monitor.domain.contracts import Cause
from escrow_monitor.domain.refund_quote import Quote
from escrow_monitor.domain.refund_statement import Language
from escrow_monitor.errors import UsageError
from escrow_monitor.web.api.taken import Day
from escrow_monitor.web.api.views import TEXT_CHARACTERS_MAX
from escrow_monitor.web.console.pages import static_version
from escrow_monitor.web.ports import WebPorts
from escrow_monitor.web.problems import Problem
from escrow_monitor.web.statement import TAGS, Heading, statement_page
from escrow_monitor.web.who import Asker, Who

STYLESHEET_URL = "/static/statement.css"


class AskedQuote(BaseModel):
    """For which day and cause: today and the consumer's own, or those of a claim."""

    model_config = ConfigDict(extra="forbid")

    on: Day | None = Field(default=None, description="the day of the claim; default today")
    cause: Cause | None = None
    claim: str | None = Field(default=None, max_length=TEXT_CHARACTERS_MAX, description="by the day of this claim")


class AskedStatement(AskedQuote):
    """The same, and in which language."""

    lang: Literal["zh", "en"] = "zh"


def router(ports: WebPorts) -> APIRouter:
    """The routes of this noun."""
    routes = APIRouter(tags=["refunds"])
    responses: dict[int | str, dict[str, Any]] = {
        404: {"description": "the contract or claim is not known"},
        409: {"description": "the records of the contract cannot be right, so nothing is computed from them"},
    }

    @routes.get("/contracts/{contract_no:path}/refund-quote", responses=responses)
    def refund_quote(contract_no: str, asked: Annotated[AskedQuote, Query()], who: Asker) -> dict[str, Any]:
        """What contract and law say is due, with every line of the sum and the grounds that were not applied."""
        return _quoted(ports, contract_no, asked, who)[1].as_json()

    @routes.get(
        "/contracts/{contract_no:path}/refund-statement", responses=responses, response_class=HTMLResponse
    )
    def refund_statement(contract_no: str, asked: Annotated[AskedStatement, Query()], who: Asker) -> Response:
        """The statement to print and sign, A4."""
        found, quote = _quoted(ports, contract_no, asked, who)
        contract, language = found.ledger.contract, Language(asked.lang)
        page = statement_page(
            quote, language, written_on=_today(ports), stylesheet_url=f"{STYLESHEET_URL}?{static_version()}",
            heading=Heading(
                institution=found.institution.name if found.institution else contract.uscc, uscc=contract.uscc,
                course=contract.course, student_ref=contract.student_ref, claim_no=asked.claim,
            ),
        )
        return HTMLResponse(page, headers={"Cache-Control": "no-store", "Content-Language": TAGS[language]})

    return routes


def _quoted(ports: WebPorts, contract_no: str, asked: AskedQuote, who: Who) -> tuple[Quoted, Quote]:
    try:
        found = quote_refund(
            ports.database, ports.policies, contract_no=contract_no, on=asked.on or _today(ports), cause=asked.cause,
            claim_no=asked.claim, visible=who.visible,
        )
        return found, must_be_possible(found)
    except RecordsImpossible as error:
        raise Problem(409, str(error)) from error
    except UsageError as error:
        raise Problem(404, str(error)) from error


def _today(ports: WebPorts) -> date:
    return ports.clock.now().astimezone(ports.zone).date()
