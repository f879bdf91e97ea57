"""Write the LLVM code that sums the trees of a forest, for blocks of rows.

A block holds a matrix's rows column by column. Each node of a perfect tree compares one column with its threshold, for
all rows of the block, and selects between the values of its two children. So nothing branches, and nothing is gathered:
the code is loads, comparisons and selections of vectors, which every processor has.

A missing value is −∞ in a block's first copy of the columns and +∞ in its second copy. A node reads the copy from which
missing values go its way.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

# Enough independent vectors to keep the processor's units busy, and few enough for its registers.
VECTORS = 4
_MINUS_INFINITY, _INFINITY = "0xFFF0000000000000", "0x7FF0000000000000"


@dataclass(frozen=True)
class Shape:
    """The sizes for which code is written.

    Attributes:
        lanes: float32 values per vector, a power of two.
        columns: the columns of the matrix, at least `lanes`.
    """

    lanes: int
    columns: int

    @property
    def rows(self) -> int:
        """Return the rows of a block."""
        return self.lanes * VECTORS

    @property
    def block(self) -> int:
        """Return the float32 values of a block: two copies of its columns."""
        return 2 * self.columns * self.rows

    @property
    def vector(self) -> str:
        """Return LLVM's type of a vector."""
        return f"<{self.lanes} x float>"

    @property
    def aligned(self) -> str:
        """Return the alignment of the vectors in a block."""
        return f"align {4 * self.lanes}"


class _Lines:
    """The instructions of a function; each result has a name of its own."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def do(self, text: str) -> None:
        self._lines.append(f"  {text}")

    def let(self, text: str) -> str:
        name = f"%v{len(self._lines)}"
        self.do(f"{name} = {text}")
        return name

    def __str__(self) -> str:
        return "\n".join(self._lines)


def module(shape: Shape, stretches: Sequence[tuple[int, int]]) -> str:
    """Return a module with the function `predict`.

    `void predict(i64 rows, float* matrix, float base, float* block, float* sums, i64* columns, float* thresholds,
    float* leaves)` writes one sum per row. `columns` holds places in the block, in bytes.
    """
    depths = sorted({depth for depth, _ in stretches})
    return "\n".join([_fill(shape), *(_trees(shape, depth) for depth in depths), _predict(shape, stretches)])


def _trees(shape: Shape, depth: int) -> str:
    """Return the function that adds consecutive trees of one depth to the sums of a block."""
    nodes = (1 << depth) - 1
    before, body, after = _Lines(), _Lines(), _Lines()
    values = _subtree(shape, body, depth, iter(range(nodes)), iter(range(nodes + 1)))
    sums, phis = [], []
    for k, value in enumerate(values):
        before.do(f"%place{k} = getelementptr {shape.vector}, ptr %sums, i64 {k}")
        before.do(f"%start{k} = load {shape.vector}, ptr %place{k}, {shape.aligned}")
        phis.append(f"  %sum{k} = phi {shape.vector} [%start{k}, %entry], [%added{k}, %tree]")
        sums.append(f"  %added{k} = fadd {shape.vector} %sum{k}, {value}")
        after.do(f"store {shape.vector} %added{k}, ptr %place{k}, {shape.aligned}")
    lines = "\n".join([*phis, str(body), *sums])
    return f"""
define internal void @trees{depth}(i64 %trees, ptr noalias readonly %block, ptr noalias %sums,
    ptr noalias readonly %columns0, ptr noalias readonly %thresholds0, ptr noalias readonly %leaves0) {{
entry:
{before}
  br label %tree
tree:
  %done = phi i64 [0, %entry], [%next, %tree]
  %columns = phi ptr [%columns0, %entry], [%columns1, %tree]
  %thresholds = phi ptr [%thresholds0, %entry], [%thresholds1, %tree]
  %leaves = phi ptr [%leaves0, %entry], [%leaves1, %tree]
{lines}
  %columns1 = getelementptr i64, ptr %columns, i64 {nodes}
  %thresholds1 = getelementptr float, ptr %thresholds, i64 {nodes}
  %leaves1 = getelementptr float, ptr %leaves, i64 {nodes + 1}
  %next = add i64 %done, 1
  %more = icmp ult i64 %next, %trees
  br i1 %more, label %tree, label %exit
exit:
{after}
  ret void
}}"""


def _subtree(shape: Shape, code: _Lines, depth: int, nodes: Iterator[int], leaves: Iterator[int]) -> list[str]:
    """Write a subtree, and return its values for each vector of rows; `nodes` and `leaves` yield the next of either."""
    if depth == 0:
        return [_constant(shape, code, "%leaves", next(leaves))] * VECTORS
    left = _subtree(shape, code, depth - 1, nodes, leaves)
    right = _subtree(shape, code, depth - 1, nodes, leaves)
    node = next(nodes)
    place = code.let(f"getelementptr i64, ptr %columns, i64 {node}")
    offset = code.let(f"load i64, ptr {place}, align 8")
    column = code.let(f"getelementptr i8, ptr %block, i64 {offset}")
    threshold = _constant(shape, code, "%thresholds", node)
    values = []
    for k in range(VECTORS):
        place = code.let(f"getelementptr {shape.vector}, ptr {column}, i64 {k}")
        value = code.let(f"load {shape.vector}, ptr {place}, {shape.aligned}")
        above = code.let(f"fcmp oge {shape.vector} {value}, {threshold}")
        chosen = f"select <{shape.lanes} x i1> {above}, {shape.vector} {right[k]}, {shape.vector} {left[k]}"
        values.append(code.let(chosen))
    return values


def _constant(shape: Shape, code: _Lines, array: str, index: int) -> str:
    """Write a vector of one number of an array."""
    place = code.let(f"getelementptr float, ptr {array}, i64 {index}")
    return _repeated(shape, code, code.let(f"load float, ptr {place}, align 4"))


def _repeated(shape: Shape, code: _Lines, number: str) -> str:
    first = code.let(f"insertelement {shape.vector} poison, float {number}, i32 0")
    none = f"<{shape.lanes} x i32> zeroinitializer"
    return code.let(f"shufflevector {shape.vector} {first}, {shape.vector} poison, {none}")


def _fill(shape: Shape) -> str:
    """Return the function that fills a block from up to `rows` rows of the matrix, square by square.

    The last square of a row begins earlier, so that it ends with the row; rows that are missing repeat the last row.
    """
    body = _Lines()
    rows = []
    for k in range(shape.lanes):
        row = body.let(f"add i64 %row, {k}")
        known = body.let(f"call i64 @llvm.umin.i64(i64 {row}, i64 %last)")
        start = body.let(f"mul i64 {known}, {shape.columns}")
        place = body.let(f"add i64 {start}, %column")
        place = body.let(f"getelementptr float, ptr %matrix, i64 {place}")
        rows.append(body.let(f"load {shape.vector}, ptr {place}, align 4"))
    for k, values in enumerate(_transposed(shape, body, rows)):
        missing = body.let(f"fcmp uno {shape.vector} {values}, zeroinitializer")
        column = body.let(f"add i64 %column, {k}")
        start = body.let(f"mul i64 {column}, {shape.rows}")
        place = body.let(f"add i64 {start}, %row")
        for copy, infinity in enumerate((_MINUS_INFINITY, _INFINITY)):
            stand_in = _repeated(shape, body, infinity)
            condition = f"select <{shape.lanes} x i1> {missing}"
            value = body.let(f"{condition}, {shape.vector} {stand_in}, {shape.vector} {values}")
            at = body.let(f"add i64 {place}, {copy * shape.columns * shape.rows}")
            at = body.let(f"getelementptr float, ptr %block, i64 {at}")
            body.do(f"store {shape.vector} {value}, ptr {at}, {shape.aligned}")
    return f"""
declare i64 @llvm.umin.i64(i64, i64)
define internal void @fill(i64 %count, ptr noalias readonly %matrix, ptr noalias %block) {{
entry:
  %last = sub i64 %count, 1
  br label %rows
rows:
  %row = phi i64 [0, %entry], [%row1, %filled]
  br label %square
square:
  %begin = phi i64 [0, %rows], [%begin1, %square]
  %column = call i64 @llvm.umin.i64(i64 %begin, i64 {shape.columns - shape.lanes})
{body}
  %begin1 = add i64 %begin, {shape.lanes}
  %wide = icmp ult i64 %begin1, {shape.columns}
  br i1 %wide, label %square, label %filled
filled:
  %row1 = add i64 %row, {shape.lanes}
  %long = icmp ult i64 %row1, {shape.rows}
  br i1 %long, label %rows, label %exit
exit:
  ret void
}}"""


def _transposed(shape: Shape, code: _Lines, rows: list[str]) -> list[str]:
    """Write the transposition of a square: interleaving its halves as often as its size has bits transposes it."""
    half = shape.lanes // 2
    for _ in range(shape.lanes.bit_length() - 1):
        pairs = zip(rows[:half], rows[half:], strict=True)
        rows = [_interleaved(shape, code, *pair, start) for pair in pairs for start in (0, half)]
    return rows


def _interleaved(shape: Shape, code: _Lines, first: str, second: str, start: int) -> str:
    """Write a vector of elements of two vectors in turn, from an element on."""
    picked = (f"i32 {lane // 2 + start + lane % 2 * shape.lanes}" for lane in range(shape.lanes))
    mask = f"<{shape.lanes} x i32> <{', '.join(picked)}>"
    return code.let(f"shufflevector {shape.vector} {first}, {shape.vector} {second}, {mask}")


def _predict(shape: Shape, stretches: Sequence[tuple[int, int]]) -> str:
    body, nodes, leaves = _Lines(), 0, 0
    start = _repeated(shape, body, "%base")
    for k in range(VECTORS):
        place = body.let(f"getelementptr {shape.vector}, ptr %part, i64 {k}")
        body.do(f"store {shape.vector} {start}, ptr {place}, {shape.aligned}")
    for depth, trees in stretches:
        columns = body.let(f"getelementptr i64, ptr %columns, i64 {nodes}")
        thresholds = body.let(f"getelementptr float, ptr %thresholds, i64 {nodes}")
        values = body.let(f"getelementptr float, ptr %leaves, i64 {leaves}")
        arrays = f"ptr {columns}, ptr {thresholds}, ptr {values}"
        body.do(f"call void @trees{depth}(i64 {trees}, ptr %block, ptr %part, {arrays})")
        nodes, leaves = nodes + trees * ((1 << depth) - 1), leaves + trees * (1 << depth)
    return f"""
define void @predict(i64 %rows, ptr %matrix, float %base, ptr %block, ptr %sums,
    ptr %columns, ptr %thresholds, ptr %leaves) {{
entry:
  br label %blocks
blocks:
  %row = phi i64 [0, %entry], [%row1, %blocks]
  %rest = sub i64 %rows, %row
  %count = call i64 @llvm.umin.i64(i64 %rest, i64 {shape.rows})
  %start = mul i64 %row, {shape.columns}
  %from = getelementptr float, ptr %matrix, i64 %start
  %part = getelementptr float, ptr %sums, i64 %row
  call void @fill(i64 %count, ptr %from, ptr %block)
{body}
  %row1 = add i64 %row, {shape.rows}
  %more = icmp ult i64 %row1, %rows
  br i1 %more, label %blocks, label %exit
exit:
  ret void
}}"""
