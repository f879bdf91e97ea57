"""Compile a forest for this processor with LLVM, and predict with it.

A compilation takes a tenth of a second. So the code is made in each process, and there is no cache to keep.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from raypipe.models.chunks import in_chunks
from raypipe.models.model import FloatArray
from raypipe.models.trees.code import Shape, module
from raypipe.models.trees.forest import LINKS, Forest, Unsuitable

# A cache line, and the longest vector.
_ALIGNMENT = 64
_POINTER = ctypes.c_void_p


class CompiledTrees:
    """Predicts like the library, up to the last digits of the link function. Threads may share it."""

    def __init__(self, forest: Forest) -> None:
        """Compile the forest.

        Raises:
            Unsuitable: LLVM is not installed, or cannot compile here.
        """
        self._forest = forest
        try:
            # Imported late: only a process that scores many rows needs LLVM.
            import llvmlite.binding as llvm

            machine, lanes = _machine(llvm)
            self._shape = Shape(lanes, max(forest.features, lanes))
            # The engine owns the code.
            self._engine = _compile(llvm, machine, module(self._shape, forest.stretches))
        except (ImportError, RuntimeError, OSError) as error:
            raise Unsuitable(f"LLVM cannot be used: {error}") from error
        arguments = (ctypes.c_int64, _POINTER, ctypes.c_float, *[_POINTER] * 5)
        # A call of ctypes releases the GIL.
        self._predict = ctypes.CFUNCTYPE(None, *arguments)(self._engine.get_function_address("predict"))
        second = forest.columns >= forest.features
        copied = forest.columns + np.where(second, self._shape.columns - forest.features, 0)
        self._places = np.ascontiguousarray(copied * (self._shape.rows * 4), np.int64)

    def predict(self, x: FloatArray, threads: int) -> FloatArray:
        """Return scores (rows,) for a matrix (rows, features)."""
        x = self._wide(x)
        sums = _aligned(len(x) + self._shape.rows)
        in_chunks(len(x), threads, lambda rows: self._add(x[rows], sums[rows.start :]))
        scores = sums[: len(x)]
        LINKS[self._forest.link](scores)
        return scores

    def _add(self, x: FloatArray, sums: FloatArray) -> None:
        """Write the sums of some rows; the last block writes to its end, beyond the rows."""
        block = _aligned(self._shape.block)
        arrays = (self._places, self._forest.thresholds, self._forest.leaves)
        pointers = [_POINTER(array.ctypes.data) for array in (block, sums, *arrays)]
        self._predict(len(x), _POINTER(x.ctypes.data), float(self._forest.base), *pointers)

    def _wide(self, x: FloatArray) -> FloatArray:
        """Return the matrix in C order, with at least as many columns as a vector has lanes."""
        lacking = self._shape.columns - x.shape[1]
        return np.ascontiguousarray(np.pad(x, ((0, 0), (0, lacking))) if lacking else x, np.float32)


def _machine(llvm: Any) -> tuple[Any, int]:
    """Return LLVM's description of this processor, and the float32 values in its vectors."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    features = llvm.get_host_cpu_features()
    lanes = 16 if features.get("avx512f") else 8 if features.get("avx2") else 4
    target = llvm.Target.from_default_triple()
    return target.create_target_machine(llvm.get_host_cpu_name(), features.flatten(), opt=2), lanes


def _compile(llvm: Any, machine: Any, text: str) -> Any:
    # LLVM's passes would take as long again, and find nothing: the text consists of vectors already.
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(text), machine)
    engine.finalize_object()
    return engine


def _aligned(size: int) -> FloatArray:
    memory = np.empty(size + _ALIGNMENT // 4, np.float32)
    start = -memory.ctypes.data % _ALIGNMENT // 4
    return memory[start : start + size]
