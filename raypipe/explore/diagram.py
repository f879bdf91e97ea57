"""Lay out the relationship diagram: tables that others refer to stand on the left."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from raypipe.explore.facts import Relation
from raypipe.pages.figures import share

ROW, BOX_HEIGHT, GAP, MARGIN = 42.0, 20.0, 110.0, 8.0
LETTER = 6.7
LONGEST_NAME = 36
SWEEPS = 4
HOLDS = 0.99


@dataclass(frozen=True)
class Box:
    """A table."""

    table: str
    label: str
    x: float
    y: float
    width: float
    height: float = BOX_HEIGHT


@dataclass(frozen=True)
class Line:
    """All references from one table to another: an SVG path, their title, and whether all of them hold."""

    child: str
    parent: str
    path: str
    title: str
    holds: bool


@dataclass(frozen=True)
class Diagram:
    """The whole drawing, in pixels."""

    width: float
    height: float
    boxes: tuple[Box, ...]
    lines: tuple[Line, ...]


def draw(relations: Sequence[Relation]) -> Diagram:
    """Draw the references with at least one known value; tables without references are left out."""
    held = [relation for relation in relations if relation.coverage]
    parents: dict[str, set[str]] = {}
    for relation in held:
        for table in (relation.table, relation.parent):
            parents.setdefault(table, set())
        if relation.table != relation.parent:
            parents[relation.table].add(relation.parent)
    layers = _layers(parents)
    _untangle(layers, parents)
    boxes: dict[str, Box] = {}
    tallest = max((len(layer) for layer in layers), default=0)
    x = MARGIN
    for layer in layers:
        top = MARGIN + (tallest - len(layer)) * ROW / 2
        labels = {table: table if len(table) <= LONGEST_NAME else table[: LONGEST_NAME - 1] + "…" for table in layer}
        width = max(len(label) for label in labels.values()) * LETTER + 12
        for number, table in enumerate(layer):
            boxes[table] = Box(table, labels[table], round(x, 1), top + number * ROW, round(width, 1))
        x += width + GAP
    between: dict[tuple[str, str], list[Relation]] = {}
    for relation in held:
        between.setdefault((relation.table, relation.parent), []).append(relation)
    lines = [_line(between[child, parent], boxes) for child in parents for parent in sorted(parents[child])]
    return Diagram(
        round(x - GAP + MARGIN if layers else 0, 1), tallest * ROW + MARGIN, tuple(boxes.values()), tuple(lines)
    )


def _layers(parents: Mapping[str, set[str]]) -> list[list[str]]:
    """Place each table a layer behind the tables that it refers to; a circle is cut at its last reference."""
    depth: dict[str, int] = {}
    for start in sorted(parents):
        # A stack of its own: a chain of tables may be longer than Python's stack.
        stack, open_ = [start], set()
        while stack:
            table = stack[-1]
            open_.add(table)
            waiting = [parent for parent in sorted(parents[table]) if parent not in depth and parent not in open_]
            if waiting:
                stack.append(waiting[0])
                continue
            stack.pop()
            depth.setdefault(
                table, 1 + max((depth[parent] for parent in parents[table] if parent in depth), default=-1)
            )
    layers: list[list[str]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
    for table in sorted(depth):
        layers[depth[table]].append(table)
    return layers


def _untangle(layers: list[list[str]], parents: Mapping[str, set[str]]) -> None:
    """Order each layer by the mean place of its neighbours (barycentre heuristic, Sugiyama et al. 1981)."""
    neighbours: dict[str, set[str]] = {table: set(of) for table, of in parents.items()}
    for table, of in parents.items():
        for parent in of:
            neighbours[parent].add(table)
    place = {table: where for layer in layers for table, where in _places(layer).items()}
    for _ in range(SWEEPS):
        for layer in layers:
            centre = {
                table: sum(place[other] for other in neighbours[table]) / len(neighbours[table])
                if neighbours[table]
                else place[table]
                for table in layer
            }
            layer.sort(key=lambda table: (centre[table], table))
            place.update(_places(layer))


def _places(layer: Sequence[str]) -> dict[str, float]:
    """Return each table's place in its layer, from 0 to 1."""
    return {table: number / max(1, len(layer) - 1) for number, table in enumerate(layer)}


def _line(relations: Sequence[Relation], boxes: Mapping[str, Box]) -> Line:
    """Return the line of all references from a table to its parent."""
    child, parent = relations[0].table, relations[0].parent
    start, end = boxes[child], boxes[parent]
    x1, y1 = start.x, start.y + BOX_HEIGHT / 2
    x2, y2 = end.x + end.width, end.y + BOX_HEIGHT / 2
    bend = GAP / 2
    path = f"M{x1:.1f},{y1:.1f} C{x1 - bend:.1f},{y1:.1f} {x2 + bend:.1f},{y2:.1f} {x2:.1f},{y2:.1f}"
    title = "\n".join(
        f"{child}.{relation.column} → {parent}.{relation.parent_column}: {share(relation.coverage)} of values"
        for relation in relations
    )
    return Line(child, parent, path, title, all((relation.coverage or 0) >= HOLDS for relation in relations))
