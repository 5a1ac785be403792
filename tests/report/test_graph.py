"""The graph of rules: what is read, what is left of it, and that boxes do not overlap."""

import re
from xml.etree import ElementTree

from embpress.report.html.graph import WIDTH, RuleGraph, svg

MERMAID = """---
title: DAG
---
flowchart TB
	id0[all]
	id1[scores]
	id2[fit <x>]
	id3[model]
	style id0 fill:#D95757,stroke-width:2px
	id1 --> id0
	id2 --> id1
	id3 --> id2
	id3 --> id1
	id3 --> id3
"""


def test_edges_are_read_and_needless_ones_left_out():
    graph = RuleGraph.from_mermaid(MERMAID)
    assert graph.needs == {
        "all": {"scores"},
        "scores": {"fit <x>", "model"},
        "fit <x>": {"model"},
        "model": set(),
    }
    assert graph.reduced().needs["scores"] == {"fit <x>"}
    assert graph.layers() == [["model"], ["fit <x>"], ["scores"], ["all"]]


def test_boxes_stand_beside_each_other_and_the_svg_is_well_formed():
    graph = RuleGraph({"a": set(), "b": {"a"}, "c": {"a"}, "d": {"b", "c"}})
    drawing = svg(graph, {"a": "2 jobs, <1 s"})
    root = ElementTree.fromstring(drawing)
    boxes = {(float(r.get("x")), float(r.get("y"))) for r in root.iter("rect")}
    assert len(boxes) == 4
    (x1, _), (x2, _) = sorted(box for box in boxes if box[1] == sorted({y for _, y in boxes})[1])
    assert x2 - x1 > WIDTH
    width = float(root.get("width"))
    assert all(0 <= x <= width - WIDTH for x, _ in boxes)
    assert "2 jobs, &lt;1 s" in drawing and len(re.findall("<path", drawing)) == 4


def test_an_empty_graph_is_an_empty_drawing():
    assert "<rect" not in svg(RuleGraph.from_mermaid("flowchart TB"), {})
