"""Test that freed arrays leave the process, which by default keeps them for the next ones."""

import subprocess
import sys

# Each array is freed while the next one lives, as batches are.
HELD = """
import resource
import pyarrow as pa
{before}
def held():
    with open("/proc/self/statm") as status:
        return int(status.read().split()[1]) * resource.getpagesize() >> 20
at_first, kept = held(), []
for size in [20 << 20, 18 << 20, 16 << 20, 14 << 20]:
    kept.append(bytearray(size))
    if len(kept) > 1:
        del kept[0]
small = bytearray(1000)
kept.clear()
print(held() - at_first)
"""


# Small objects among large numbers of others, which the allocator keeps for more of their kind.
SCATTERED = """
import resource
{import_}
def held():
    with open("/proc/self/statm") as status:
        return int(status.read().split()[1]) * resource.getpagesize() >> 20
at_first = held()
kept = [bytearray(10_000) for _ in range(20_000)]
last = kept[-1]
del kept
{after}
print(held() - at_first)
"""


def run(code: str) -> int:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(done.stdout)


def held(before: str) -> int:
    """Return the MB that a process holds of its freed arrays."""
    return run(HELD.format(before=before))


def test_what_is_freed_between_two_pipelines_is_given_back() -> None:
    given = "from raypipe.score.allocation import give_back"
    assert run(SCATTERED.format(import_=given, after="")) > 100
    assert run(SCATTERED.format(import_=given, after="give_back()")) < 20


def test_freed_arrays_are_returned() -> None:
    assert held("from raypipe.score.allocation import return_freed_memory\nreturn_freed_memory()") <= 2


def test_without_this_they_are_kept() -> None:
    assert held("") > 5
