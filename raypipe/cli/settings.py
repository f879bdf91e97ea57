"""Name the sections of the configuration that each command reads, so that a --set without effect is refused."""

from collections.abc import Iterable

from raypipe.config.schema import PipelineConfig
from raypipe.errors import UsageError

COMMON = ("connection", "timezone", "artifacts", "ray", "entity", "source")
TEST_ROWS = ("carry", "inputs", "label", "features", "without", "levels", "parameters", "split", "evaluate")
FIT = (*TEST_ROWS, "model", "baselines", "score.slice_rows")
SCORE = ("score", "monitor", "publish")
NIGHT = (*FIT, *SCORE, "ads")
# `raypipe run` reads these for a bandit and for a comparison.
BANDIT = ("ads", "features", "split", "evaluate", *SCORE)
COMPARISON = (*TEST_ROWS, "baselines", "score.slice_rows")

# A command that is not here reads every section.
READS = {
    "fit": FIT,
    "compare": FIT,
    "sweep": (*FIT, "sweep"),
    "plan": ("score", "publish"),
    "score": SCORE,
    "rollback": SCORE,
    "run": NIGHT,
    "nightly": (*NIGHT, "enabled", "after", "alerts", "prometheus"),
    "models promote": TEST_ROWS,
    "validate": ("label", "parameters", "split", "evaluate", "ads"),
}


def refuse_unread(command: str, overrides: Iterable[str]) -> None:
    """Refuse a --set that a command never reads.

    A key that no command knows is left to the configuration, which names the nearest.

    Raises:
        UsageError: the message names the commands that read the key.
    """
    for key in keys_of(overrides):
        if command not in READS or key.partition(".")[0] not in PipelineConfig.model_fields or reads(command, key):
            continue
        others = ", ".join(name for name in READS if reads(name, key))
        raise UsageError(
            f"`raypipe {command}` does not read {key}, so --set has no effect",
            found=f"--set {key}",
            allowed=f"keys of {', '.join((*COMMON, *READS[command]))}",
            next_step=f"give it to a command that reads it: {others}" if others else f"leave --set {key} out",
        )


def reads(command: str, key: str) -> bool:
    """Tell whether a command reads a dotted key, or a part of what the key names."""
    return not unread([key], READS[command])


def unread(keys: Iterable[str], sections: Iterable[str]) -> list[str]:
    """Return the dotted keys outside of these sections and of those that every command reads."""
    known = (*COMMON, *sections)
    return [key for key in keys if not any(_overlap(key, section) for section in known)]


def keys_of(overrides: Iterable[str]) -> list[str]:
    """Return the dotted keys of the values of --set."""
    return [text.partition("=")[0].strip() for text in overrides if "=" in text]


def _overlap(key: str, section: str) -> bool:
    return f"{key}.".startswith(f"{section}.") or f"{section}.".startswith(f"{key}.")
