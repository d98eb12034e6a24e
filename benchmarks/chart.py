"""Pictures of curves as SVG, without a drawing library: they take the page's colours, light or dark, and need no script."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 720, 380
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 128, 56, 56
_STYLE: Final = """\
text { font: 13px system-ui, sans-serif; fill: #3c4043; }
.title { font-size: 16px; font-weight: 600; fill: #202124; }
.grid { stroke: #80868b; stroke-opacity: .25; }
.line { fill: none; stroke-width: 2.2; stroke-linejoin: round; stroke-linecap: round; }
.band { stroke: none; fill-opacity: .16; }
.c0 { color: #1a73e8; } .c1 { color: #c5620a; } .c2 { color: #188038; } .c3 { color: #8430ce; }
.line { stroke: currentColor; } .band, .dot, .name { fill: currentColor; }
@media (prefers-color-scheme: dark) {
  text { fill: #bdc1c6; } .title { fill: #e8eaed; }
  .c0 { color: #8ab4f8; } .c1 { color: #fcad70; } .c2 { color: #81c995; } .c3 { color: #d7aefb; }
}"""


@dataclass(frozen=True)
class Point:
    """A median with the least and the greatest round."""

    x: float
    y: float
    low: float
    high: float


def draw(
    title: str,
    x_title: str,
    y_title: str,
    curves: Mapping[str, Sequence[Point]],
    *,
    logarithmic: bool = True,
) -> str:
    """One picture: a line per curve through its medians, in a band from the least to the greatest round.

    `logarithmic` concerns the x axis; the y axis begins at zero, so that flat looks flat.
    """
    xs = sorted({_x_scaled(point.x, logarithmic) for points in curves.values() for point in points})
    first, last = xs[0], xs[-1] if xs[-1] > xs[0] else xs[0] + 1
    step = _nice_step(max(point.high for points in curves.values() for point in points))
    top = step * math.ceil(max(point.high for points in curves.values() for point in points) / step)

    def at_x(x: float) -> float:
        share = (_x_scaled(x, logarithmic) - first) / (last - first)
        return _LEFT + share * (WIDTH - _LEFT - _RIGHT)

    def at_y(y: float) -> float:
        return HEIGHT - _BOTTOM - y / top * (HEIGHT - _TOP - _BOTTOM)

    middle = (_LEFT + WIDTH - _RIGHT) / 2
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        f"<title>{escape(title)}</title>",
        f"<style>{_STYLE}</style>",
        f'<text class="title" x="{_LEFT}" y="26">{escape(title)}</text>',
        f'<text x="{_LEFT}" y="44">{escape(y_title)}</text>',
        f'<text x="{middle:.0f}" y="{HEIGHT - 12}" text-anchor="middle">{escape(x_title)}</text>',
    ]
    for count in range(round(top / step) + 1):
        y = at_y(count * step)
        parts.append(f'<path class="grid" d="M{_LEFT} {y:.1f}H{WIDTH - _RIGHT}"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{short(count * step)}</text>')
    parts += [
        f'<text x="{at_x(x):.1f}" y="{HEIGHT - _BOTTOM + 20}" text-anchor="middle">{short(x)}</text>'
        for x in _ticks(curves, logarithmic)
    ]
    ends = _apart([at_y(points[-1].y) for points in curves.values()])
    for place, (name, points) in enumerate(curves.items()):
        line = "L".join(f"{at_x(point.x):.1f} {at_y(point.y):.1f}" for point in points)
        edge = [f"{at_x(point.x):.1f} {at_y(point.high):.1f}" for point in points]
        edge += [f"{at_x(point.x):.1f} {at_y(point.low):.1f}" for point in reversed(points)]
        parts.append(f'<g class="c{place % 4}"><path class="band" d="M{"L".join(edge)}Z"/>')
        parts.append(f'<path class="line" d="M{line}"/>')
        parts += [
            f'<circle class="dot" cx="{at_x(point.x):.1f}" cy="{at_y(point.y):.1f}" r="3.2"/>'
            for point in points
        ]
        parts.append(
            f'<text class="name" x="{WIDTH - _RIGHT + 10}" y="{ends[place] + 4:.1f}">{escape(name)}</text></g>'
        )
    return "\n".join([*parts, "</svg>", ""])


def short(number: float) -> str:
    """A number for an axis: 1500 is 1.5k, 1e9 is 1G."""
    for unit, sign in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= unit:
            return f"{number / unit:g}{sign}"
    return f"{number:g}"


def _x_scaled(x: float, logarithmic: bool) -> float:
    # Zero has its place on the left of a logarithmic axis, as if it were one.
    return math.log10(max(x, 1)) if logarithmic else x


def _ticks(curves: Mapping[str, Sequence[Point]], logarithmic: bool) -> Sequence[float]:
    """The measured places on a logarithmic axis, round numbers on another."""
    places = sorted({point.x for points in curves.values() for point in points})
    if logarithmic:
        return places
    step = _nice_step(places[-1])
    return [count * step for count in range(int(places[-1] / step) + 1)]


def _nice_step(highest: float) -> float:
    """A step of 1, 2 or 5 times a power of ten that divides the axis into four to eight parts."""
    rough = max(highest, 1e-9) / 5
    power = 10 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)


def _apart(heights: Sequence[float], least: float = 16) -> list[float]:
    """The heights of labels, moved so that none covers another."""
    moved = dict.fromkeys(range(len(heights)), 0.0)
    last = -math.inf
    for place in sorted(moved, key=lambda one: heights[one]):
        last = max(heights[place], last + least)
        moved[place] = last
    return list(moved.values())
