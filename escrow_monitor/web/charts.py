"""Small charts as SVG that stands by itself: lines over two axes, a legend in words, a title for who cannot see it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
"""Told apart by people who see colours differently (Okabe and Ito)."""
DASHES = ("", "7 3", "2 3", "9 3 2 3")
WIDTH, HEIGHT = 640, 300
LEFT, RIGHT, TOP, BOTTOM = 52, 26, 12, 44


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """From where to where it runs, which places are marked and how they are written. `first` may lie above `last`."""

    title: str
    first: float
    last: float
    marks: Sequence[tuple[float, str]]

    def part(self, value: float) -> float:
        """How far along the axis a value lies, from 0 to 1."""
        return (value - self.first) / (self.last - self.first)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line; `steps`: it keeps its height until the next point. `dots`: how large each point is, none without."""

    name: str
    points: Sequence[tuple[float, float]]
    steps: bool = False
    dots: Sequence[float] = ()


def line_chart(title: str, x: Axis, y: Axis, lines: Sequence[Line], *, diagonal: bool = False) -> Markup:
    """Draw lines. `diagonal` adds the line on which both axes say the same."""
    height = HEIGHT + 18 * ((len(lines) + 1) // 2)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" class="chart">',
        f"<title>{escape(title)}</title>", *_grid(x, y),
    ]
    if diagonal:
        parts.append(_path([(x.first, x.first), (x.last, x.last)], x, y, 'stroke="#8a939c" stroke-dasharray="3 3"'))
    for number, line in enumerate(lines):
        colour, dash = COLOURS[number % len(COLOURS)], DASHES[(number // len(COLOURS) + number) % len(DASHES)]
        style = f'stroke="{colour}" stroke-width="2"' + (f' stroke-dasharray="{dash}"' if dash else "")
        parts.append(_path(_stepped(line.points) if line.steps else line.points, x, y, style))
        parts += [
            f'<circle cx="{_x(x, at[0]):.1f}" cy="{_y(y, at[1]):.1f}" r="{size:.1f}" fill="{colour}"/>'
            for at, size in zip(line.points, line.dots, strict=False)
        ]
        left, top = LEFT + (number % 2) * (WIDTH - LEFT) // 2, HEIGHT + 14 + 18 * (number // 2)
        parts.append(f'<path d="M{left} {top - 4}h26" fill="none" {style}/>')
        parts.append(f'<text x="{left + 32}" y="{top}">{escape(line.name)}</text>')
    return Markup("\n".join([*parts, "</svg>"]))  # noqa: S704 - every text in it was escaped above


def _grid(x: Axis, y: Axis) -> list[str]:
    bottom = HEIGHT - BOTTOM
    parts = []
    for value, text in y.marks:
        at = _y(y, value)
        parts.append(f'<path d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}" stroke="#d5dae0"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{escape(text)}</text>')
    for value, text in x.marks:
        at = _x(x, value)
        parts.append(f'<path d="M{at:.1f} {bottom}v5" stroke="#4a535d"/>')
        parts.append(f'<text x="{at:.1f}" y="{bottom + 18}" text-anchor="middle">{escape(text)}</text>')
    parts.append(f'<path d="M{LEFT} {TOP}V{bottom}H{WIDTH - RIGHT}" fill="none" stroke="#4a535d"/>')
    middle, centre = (LEFT + WIDTH - RIGHT) / 2, (TOP + bottom) / 2
    parts.append(f'<text x="{middle:.0f}" y="{bottom + 36}" text-anchor="middle">{escape(x.title)}</text>')
    parts.append(
        f'<text x="12" y="{centre:.0f}" text-anchor="middle" transform="rotate(-90 12 {centre:.0f})">'
        f"{escape(y.title)}</text>"
    )
    return parts


def _stepped(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    found = list(points[:1])
    for point in points[1:]:
        found += [(point[0], found[-1][1]), point]
    return found


def _path(points: Sequence[tuple[float, float]], x: Axis, y: Axis, style: str) -> str:
    if not points:
        return ""
    places = " ".join(f"{_x(x, each[0]):.1f},{_y(y, each[1]):.1f}" for each in points)
    return f'<polyline points="{places}" fill="none" {style}/>'


def _x(axis: Axis, value: float) -> float:
    return LEFT + axis.part(value) * (WIDTH - LEFT - RIGHT)


def _y(axis: Axis, value: float) -> float:
    return HEIGHT - BOTTOM - axis.part(value) * (HEIGHT - BOTTOM - TOP)
