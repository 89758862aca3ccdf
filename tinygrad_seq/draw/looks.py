"""What shapes, colours and lines mean; the legend says the same in words."""

from __future__ import annotations

# Colours after the palette of Okabe and Ito, which the colour-blind can tell apart; shape, width and dashes say the same again.
LOOKS = {
    "operation": 'shape=box, style="rounded,filled", color="#0072B2", fillcolor="#E6F1F8"',
    "gradient operation": 'shape=box, style="rounded,filled,dashed", color="#B0558A", fillcolor="#F8EAF2"',
    "output": 'shape=box, style="rounded,filled", color="#0072B2", fillcolor="#E6F1F8", peripheries=2',
    "mask": 'shape=box, style="rounded,filled", color="#888888", fillcolor="#E4E4E4"',
    "folded": 'shape=box, style="filled", color="#0072B2", fillcolor="#CFE4F2", penwidth=1.6',
    "hidden": 'shape=box, style="filled,dashed", color="#999999", fillcolor="#F4F4F4"',
    "parameter": 'shape=box, style=filled, color="#C98500", fillcolor="#FFF1D0"',
    "input": 'shape=ellipse, style=filled, color="#666666", fillcolor="#F4F4F4"',
    "detached": 'shape=ellipse, style="filled,dashed", color="#A04000", fillcolor="#FBEDE3"',
    "constant": 'shape=plain, color="#666666"',
}
LINES = {
    "value": 'color="#555555", penwidth=1.1',
    "state": 'color="#D55E00", penwidth=2',
    "across": 'color="#009E73", penwidth=1.3',
    "gradient": 'color="#B0558A", penwidth=1.1, style=dashed',
    "rolled": 'color="#D55E00", penwidth=2, style=dashed',
    "cut": 'color="#A04000", penwidth=1.6, style=dotted, arrowhead=tee',
    "fed back": 'color="#A04000", penwidth=1.6, style=dotted',
}
MEANINGS = {
    "operation": "operation",
    "gradient operation": "operation of a gradient",
    "output": "output",
    "mask": "mask: else the state is carried across",
    "folded": "operations in one",
    "hidden": "steps not drawn",
    "parameter": "parameter",
    "input": "input",
    "detached": "detached: no gradient",
    "value": "value",
    "state": "state, from step to step",
    "across": "looks back across",
    "gradient": "gradient",
    "rolled": "to the next step",
    "cut": "cut: no gradient flows",
    "fed back": "fed back: no gradient flows",
}
