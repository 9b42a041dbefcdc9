"""A small chart as SVG: shares over an exponent, without a library for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

__all__ = ["draw"]

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 640, 360, 56, 20, 110, 48
COLOURS = ("#2f6fb7", "#c0562b", "#4b8b3b", "#7a4fa3")


def draw(lines: Mapping[str, Sequence[tuple[float, float]]], *, marks: Sequence[float] = ()) -> str:
    """Return a chart.

    Args:
        lines: Points of each line, the share 0 to 1.
        marks: Shares at which a dashed line stands.
    """
    points = [x for line in lines.values() for x, _ in line]
    low, high = min(points), max(points)

    def at(x: float, y: float) -> tuple[float, float]:
        across = (x - low) / ((high - low) or 1)
        return (
            LEFT + across * (WIDTH - LEFT - RIGHT),
            TOP + (1 - y) * (HEIGHT - TOP - BOTTOM),
        )

    out = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
            'font-family="sans-serif" font-size="12" fill="#333">'
        ),
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
    ]
    for tenth in range(0, 11, 2):
        x, y = at(low, tenth / 10)
        end = at(high, tenth / 10)[0]
        out.append(f'<path d="M{x:.0f} {y:.1f}H{end:.0f}" stroke="#e4e4e4"/>')
        out.append(f'<text x="{x - 8:.0f}" y="{y + 4:.1f}" text-anchor="end">{tenth * 10} %</text>')
    for mark in marks:
        x, y = at(low, mark)
        end = at(high, mark)[0]
        out.append(
            f'<path d="M{x:.0f} {y:.1f}H{end:.0f}" stroke="#999" stroke-dasharray="4 4"/>'
            f'<text x="{x + 4:.0f}" y="{y - 4:.1f}" fill="#777">{mark:.0%}</text>'
        )
    for x in sorted(set(points)):
        across, down = at(x, 0)
        out.append(
            f'<text x="{across:.1f}" y="{down + 18:.0f}" text-anchor="middle">{x:.1f}</text>'
        )
    middle = at((low + high) / 2, 0)
    out.append(
        f'<text x="{middle[0]:.0f}" y="{HEIGHT - 10}" text-anchor="middle">'
        "exponent s of the Zipf law that utterances are drawn from</text>"
    )
    for colour, (name, line) in zip(COLOURS, lines.items(), strict=False):
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(*point) for point in line))
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        end, y = at(*line[-1])
        out.append(f'<text x="{end + 8:.0f}" y="{y + 4:.1f}" fill="{colour}">{name}</text>')
    return "\n".join([*out, "</svg>", ""])
