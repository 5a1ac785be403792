"""The graph of rules as SVG, out of what `snakemake --rulegraph mermaid-js` prints."""

import html
import re
from dataclasses import dataclass

WIDTH = 132
HEIGHT = 40
GAP = 18
LEVEL = 84
"""Of a box, between boxes, and from one layer to the next, in pixels."""


@dataclass(frozen=True)
class RuleGraph:
    """Rules, and for each those whose output it reads."""

    needs: dict[str, set[str]]

    @classmethod
    def from_mermaid(cls, text: str) -> "RuleGraph":
        """Of a flowchart with nodes `id0[name]` and edges `id1 --> id0`.

        A rule that follows itself is drawn once.
        """
        names = dict(re.findall(r"^\s*(id\d+)\[(.+)\]\s*$", text, re.MULTILINE))
        needs: dict[str, set[str]] = {name: set() for name in names.values()}
        for source, target in re.findall(r"^\s*(id\d+) --> (id\d+)\s*$", text, re.MULTILINE):
            if names[source] != names[target]:
                needs[names[target]].add(names[source])
        return cls(needs)

    def reduced(self) -> "RuleGraph":
        """Without edges that a longer way makes needless."""

        def reached(rule: str) -> set[str]:
            return self.needs[rule].union(*(reached(before) for before in self.needs[rule]))

        return RuleGraph(
            {
                rule: {b for b in before if not any(b in reached(o) for o in before)}
                for rule, before in self.needs.items()
            }
        )

    def layers(self) -> list[list[str]]:
        """Rules by the length of the longest way to them; within a layer near what they need."""
        depth: dict[str, int] = {}

        def level(rule: str) -> int:
            if rule not in depth:
                depth[rule] = 1 + max((level(before) for before in self.needs[rule]), default=-1)
            return depth[rule]

        layers: list[list[str]] = [
            [] for _ in range(1 + max((level(rule) for rule in self.needs), default=-1))
        ]
        for rule in sorted(self.needs):
            layers[depth[rule]].append(rule)
        place: dict[str, float] = {}
        for layer in layers:
            layer.sort(
                key=lambda r: (
                    sum(place.get(b, 0.0) for b in self.needs[r]) / max(1, len(self.needs[r]))
                )
            )
            place |= {rule: i - (len(layer) - 1) / 2 for i, rule in enumerate(layer)}
        return layers


def svg(graph: RuleGraph, notes: dict[str, str]) -> str:
    """An inline SVG in the colours of the page.

    Under each rule's name its note (how many jobs, how long).
    """
    graph = graph.reduced()
    layers = graph.layers()
    width = GAP + max((len(layer) for layer in layers), default=0) * (WIDTH + GAP)
    corners = {
        rule: (width / 2 + (i - len(layer) / 2) * (WIDTH + GAP) + GAP / 2, GAP + depth * LEVEL)
        for depth, layer in enumerate(layers)
        for i, rule in enumerate(layer)
    }
    height = 2 * GAP + HEIGHT + LEVEL * max(0, len(layers) - 1)
    parts = [
        _edge(corners[before], corners[rule])
        for rule in corners
        for before in sorted(graph.needs[rule])
    ]
    parts += [_box(rule, corner, notes.get(rule, "")) for rule, corner in corners.items()]
    listed = "; ".join(
        f"{rule} needs {', '.join(sorted(b)) or 'nothing'}" for rule, b in graph.needs.items()
    )
    head = f'<svg class="graph" role="img" width="{width:g}" height="{height:g}" viewBox="0 0 {width:g} {height:g}">'
    return f"{head}<title>Graph of rules</title><desc>{html.escape(listed)}</desc>{''.join(parts)}</svg>"


def _edge(start: tuple[float, float], end: tuple[float, float]) -> str:
    """A curve from the bottom of one box to the top of another."""
    x1 = start[0] + WIDTH / 2
    y1 = start[1] + HEIGHT
    x2 = end[0] + WIDTH / 2
    y2 = end[1]
    middle = (y1 + y2) / 2
    return (
        f'<path class="edge" d="M{x1:g} {y1:g}C{x1:g} {middle:g} {x2:g} {middle:g} {x2:g} {y2:g}"/>'
    )


def _box(rule: str, corner: tuple[float, float], note: str) -> str:
    """A rule's name over its note."""
    x, y = corner
    middle = x + WIDTH / 2
    name = html.escape(rule)
    lines = f'<text x="{middle:g}" y="{y + (17 if note else 25):g}">{name}</text>'
    lines += (
        f'<text class="note" x="{middle:g}" y="{y + 32:g}">{html.escape(note)}</text>'
        if note
        else ""
    )
    return f'<rect x="{x:g}" y="{y:g}" width="{WIDTH}" height="{HEIGHT}" rx="6"/>{lines}'
