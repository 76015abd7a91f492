"""The floor of T14: a list of fifty lines by FastAPI and Jinja, out of memory, with no language, no reader, no law."""

from __future__ import annotations

import sys

import uvicorn
from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from jinja2 import Environment
from starlette.middleware.gzip import GZipMiddleware

LINES = [
    {"name": f"晨光艺术培训学校{number}", "why": "余额 83120.00 CNY，低于最低余额 100000.00 CNY（仅为 0.8312）",
     "balance": f"{number * 7919 % 100_000}.00", "level": ("red", "orange", "yellow")[number % 3]}
    for number in range(50)
]
TEMPLATE = """<!doctype html><html lang="zh-CN"><head><meta charset="utf-8"><title>{{ title }}</title></head><body>
<table>{% for line in lines %}<tr class="row row-{{ line.level }}"><td><a href="/institutions/{{ loop.index }}"
class="name">{{ line.name }}</a></td><td class="num">{{ line.balance }}</td><td><span class="badge {{ line.level }}">
{{ line.level }}</span></td><td class="why">{{ line.why }}</td><td>{% for point in range(30) %}{{ point }},{{ point }}
{% endfor %}</td></tr>{% endfor %}</table></body></html>"""


def main(port: int) -> None:
    """Serve it until somebody ends it."""
    app = FastAPI()
    app.add_middleware(GZipMiddleware, minimum_size=1_000, compresslevel=5)
    template = Environment(autoescape=True).from_string(TEMPLATE)

    @app.get("/")
    async def page() -> HTMLResponse:
        return HTMLResponse(template.render(title="bare", lines=LINES))

    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    main(int(sys.argv[1]))
