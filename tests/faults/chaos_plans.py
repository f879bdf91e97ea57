"""Draw rounds of chaos: runs of a small publisher, and the faults that hit them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from random import Random
from typing import Any

from tests.faults.actors import LEDGER_INSERT, PORTION_INSERT, RUNS_INSERT, STAGING_INSERT, SWAP
from tests.faults.proxy import Rule, reply
from tests.integration.conftest import SNAPSHOTS

# A request's pattern, and how many matches may pass first.
POINTS = {
    "any": (b"HTTP/1.1", 110),
    "read": (b"max_threads=1", 5),
    "staging": (STAGING_INSERT, 5),
    "portion": (PORTION_INSERT, 10),
    "link": (b"ATTACH PARTITION ALL FROM", 10),
    "ledger": (LEDGER_INSERT, 5),
    "state": (RUNS_INSERT, 4),
    "explain": (b"INSERT INTO `raypipe_explain_", 1),
    "monitor": (b"INSERT INTO `ml_model_monitoring`", 1),
    "twin": (b"INSERT INTO `raypipe_twin_", 2),
    "copy": (b"CREATE TABLE `raypipe_previous_", 2),
    "swap": (SWAP, 4),
    "move": (b"MOVE PARTITION", 2),
    "lock": (b"CREATE TABLE `raypipe_lock_", 1),
    "drop": (b"DROP TABLE IF EXISTS", 6),
}
WEIGHTS = {"any": 8, "staging": 2, "portion": 2, "link": 2, "state": 3, "twin": 2, "copy": 2, "swap": 6}
SCORING = ("read", "staging", "portion", "ledger")
WIRE = {"cut": "cut", "cut_body": "cut_body", "cut_after": "cut_after", "503": "answer", "503_after": "answer_after"}
# What ends a command, and what happens beside it.
ENDS = ("kill", "terminate", "interrupt")
BESIDE = ("restart", "restart", "restart", "recompute", "clean", *ENDS)
# Another command takes over while this command is stopped, or while it goes on.
RIVALS = ("pause", "pause", "overtake")
VERBS = ("resume", "resume", "score", "score", "run")
AHEAD_SECONDS = (0, 0, 0, 600, -600, 86_400, -86_400)
# Milliseconds between a request and the kill of its server; a swap takes a few.
DELAYS = (0, 1, 2, 4, 8, 16)
TAKING_OVER = " --take-over"


@dataclass(frozen=True)
class Fault:
    """A fault of a request: on the wire, of the process that sent it, of the server, or beside them.

    Attributes:
        is_answered: whether the server has answered the request when the fault strikes.
        goes_on: whether the request goes on when the fault begins, and not when it is over.
        delay: milliseconds between a request that goes on and the kill of its server.
        rival: the command that takes over meanwhile.
    """

    kind: str
    point: str
    skip: int
    times: int = 1
    is_answered: bool = False
    goes_on: bool = False
    delay: int = 0
    rival: Try | None = None

    def __str__(self) -> str:
        marks = ("x2" if self.times > 1 else "") + ("a" if self.is_answered else "") + ("g" if self.goes_on else "")
        return f"{self.kind}@{self.point}+{self.skip}{marks}" + (f"[{self.rival}]" if self.rival else "")

    def rule(self) -> Rule:
        """Return the proxy's rule for the fault."""
        pattern, _ = POINTS[self.point]
        action: Any = WIRE.get(self.kind) or ("hold_answer" if self.is_answered else "hold")
        answer = reply(503, "Service Unavailable") if action.startswith("answer") else b""
        return Rule(pattern, action, skip=self.skip, times=self.times, answer=answer)


@dataclass(frozen=True)
class Try:
    """A command, the clock of its process, and the faults that hit it.

    A `resume` without a run to resume is a `score`.
    """

    verb: str
    day: date
    ahead: int
    faults: tuple[Fault, ...] = ()

    @property
    def takes_over(self) -> bool:
        """Return whether the command takes the lock of another command."""
        return self.verb.endswith(TAKING_OVER)

    def __str__(self) -> str:
        clock = f"{self.ahead:+d}s" if self.ahead else ""
        return f"{self.verb} {self.day:%d}{clock}({', '.join(map(str, self.faults))})"


@dataclass(frozen=True)
class Round:
    """Some commands and their faults, drawn in advance.

    Attributes:
        is_on_ray: whether Ray's actors score, and not threads.
        ending: the first command after the faults.
        cleans_first: whether `doctor --clean` comes before a take-over, where the ending is refused.
    """

    number: int
    is_on_ray: bool
    overrides: tuple[str, ...]
    tries: tuple[Try, ...]
    ending: str
    cleans_first: bool

    def __str__(self) -> str:
        where = "on Ray" if self.is_on_ray else "on threads"
        return f"round {self.number} {where} {' '.join(self.overrides)}: " + "; ".join(map(str, self.tries))


def drawn(seed: int, number: int, ray_share: float) -> Round:
    """Draw a round of a seed, independent of the rounds before."""
    random = Random(f"{seed} {number}")
    is_on_ray = random.random() < ray_share
    overrides = (
        f"score.slice_rows={random.choice((64, 100, 1000))}",
        f"score.chunk_rows={random.choice((50, 100_000))}",
        f"score.explain.rows={random.choice((0, 20))}",
    )
    tries = [_try(random, is_on_ray) for _ in range(random.randint(2, 4))]
    ending = random.choice(("score", "resume"))
    return Round(number, is_on_ray, overrides, tuple(tries), ending, random.random() < 0.5)


def _try(random: Random, is_on_ray: bool) -> Try:
    verb = random.choice(VERBS) + (TAKING_OVER if random.random() < 0.4 else "")
    faults = tuple(_fault(random, is_on_ray, is_rival=False) for _ in range(random.randint(1, 3)))
    return Try(verb, random.choice(SNAPSHOTS), random.choice(AHEAD_SECONDS), faults)


def _rival(random: Random, is_on_ray: bool) -> Try:
    faults = (_fault(random, is_on_ray, is_rival=True),) if random.random() < 0.4 else ()
    verb = random.choice(VERBS) + TAKING_OVER
    return Try(verb, random.choice(SNAPSHOTS), random.choice(AHEAD_SECONDS), faults)


def _fault(random: Random, is_on_ray: bool, *, is_rival: bool) -> Fault:
    names = list(POINTS)
    groups = [tuple(WIRE), BESIDE, BESIDE, BESIDE]
    groups += ([] if is_rival else [RIVALS]) + ([("actor",)] if is_on_ray else [])
    kind = random.choice(random.choice(groups))
    # Actors live while they score.
    weights = [int(name in SCORING) if kind == "actor" else WEIGHTS.get(name, 1) for name in names]
    point = random.choices(names, weights)[0]
    skip = random.randrange(POINTS[point][1])
    if kind in WIRE:
        return Fault(kind, point, skip, random.randint(1, 2))
    rival = _rival(random, is_on_ray) if kind in RIVALS else None
    is_answered, goes_on = random.random() < 0.5, random.random() < 0.5
    return Fault(kind, point, skip, 1, is_answered, goes_on, random.choice(DELAYS), rival)
