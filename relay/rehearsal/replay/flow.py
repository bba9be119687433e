"""The flow between dispositions as a picture: bands from what was decided to what would be, each as wide as the recipients in it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from relay.rehearsal.replay.counts import NOT_KNOWN, WORDS

WIDTH, HEIGHT = 760, 340
SIDE = 170
"""Room for the names on each side."""
NODE, GAP = 14, 22
LEAST = 2.0
"""No band is thinner, so that one recipient among a million is seen."""
ORDER = (*WORDS, NOT_KNOWN)

Flow = tuple[str, str, int]
"""What was decided, what would be, and how many recipients."""


@dataclass(frozen=True, slots=True)
class _Node:
    """A disposition on one side: where it begins, and how high it is."""

    word: str
    number: int
    top: float
    height: float


def picture(flows: Sequence[Flow], title: str, name: str) -> str:
    """SVG for a page; `name` makes its ids its own. What it shows must stand beside it as a table."""
    total = sum(number for _, _, number in flows)
    if not total:
        return ""
    left, right = _nodes(flows, 0, total), _nodes(flows, 1, total)
    height = max(node.top + node.height for node in (*left, *right)) + 12
    told = "; ".join(f"{number:,} {was} to {now}" for was, now, number in flows)
    return "\n".join(
        [
            f'<svg class="flow" viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-labelledby="{name}-title {name}-told">',
            f'<title id="{name}-title">{escape(title)}</title>',
            f'<desc id="{name}-told">{escape(told)}</desc>',
            *_bands(flows, left, right, total),
            *(_box(node, SIDE, "end") for node in left),
            *(_box(node, WIDTH - SIDE - NODE, "start") for node in right),
            "</svg>",
        ]
    )


def _size(number: int, total: int) -> float:
    return max(number / total * (HEIGHT - 5 * GAP), LEAST)


def _nodes(flows: Sequence[Flow], side: int, total: int) -> list[_Node]:
    """As high as the bands that touch them."""
    found: list[_Node] = []
    top = 12.0
    for word in ORDER:
        numbers = [flow[2] for flow in flows if flow[side] == word]
        if numbers:
            height = sum(_size(number, total) for number in numbers)
            found.append(_Node(word, sum(numbers), top, height))
            top += max(height, 16) + GAP
    return found


def _bands(flows: Sequence[Flow], left: Sequence[_Node], right: Sequence[_Node], total: int) -> Iterator[str]:
    """In the order of both sides, so that they cross no more than they must."""
    starts, ends = ({node.word: node.top for node in nodes} for nodes in (left, right))
    middle = WIDTH / 2
    x, until = SIDE + NODE, WIDTH - SIDE - NODE
    for was, now, number in sorted(flows, key=lambda flow: (ORDER.index(flow[0]), ORDER.index(flow[1]))):
        size, y, z = _size(number, total), starts[was], ends[now]
        starts[was] += size
        ends[now] += size
        path = (
            f"M{x} {y:.1f} C{middle} {y:.1f} {middle} {z:.1f} {until} {z:.1f} "
            f"L{until} {z + size:.1f} C{middle} {z + size:.1f} {middle} {y + size:.1f} {x} {y + size:.1f} Z"
        )
        kind = "band" if was == now else "band other"
        yield f'<path class="{kind} {css(now)}" d="{path}"><title>{number:,} recipients: {was} to {now}</title></path>'


def _box(node: _Node, x: int, anchor: str) -> str:
    """The place of a disposition, with its name beside it."""
    beside, middle = (x - 8 if anchor == "end" else x + NODE + 8), node.top + node.height / 2 + 5
    return (
        f'<rect class="{css(node.word)}" x="{x}" y="{node.top:.1f}" width="{NODE}" height="{node.height:.1f}" rx="2"/>'
        f'<text x="{beside}" y="{middle:.1f}" text-anchor="{anchor}">{node.word} <tspan class="number">{node.number:,}</tspan></text>'
    )


def css(word: str) -> str:
    """The class that gives a disposition its colour."""
    return word.replace(" ", "-") if word in ORDER else "not-known"
