"""Report the result as one JSON document and as a table."""

from __future__ import annotations

import platform
from statistics import median
from typing import Any

from contest.rounds import BEFORE, Contest, Result


def document(contest: Contest, results: dict[str, list[Result]], repeats: int) -> dict[str, Any]:
    """Return the medians of all numbers, and `ratios` between raypipe and the others."""
    contenders = {name: medians(found) for name, found in results.items()}
    return {
        "users": contest.job.rows,
        "repeats": repeats,
        "cores": contest.job.cores,
        "machine": platform.machine(),
        "ray_builtin_settings": contest.settings,
        "contenders": contenders,
        "ratios": ratios(contenders),
        "seconds_of_each_run": {
            name: [round(one["seconds"], 3) for one in found] for name, found in results.items() if name != "limit"
        },
    }


def medians(found: list[Result]) -> Result:
    first = found[0]
    return {name: _median(name, [one[name] for one in found]) for name in first}


def _median(name: str, values: list[Any]) -> Any:
    if isinstance(values[0], dict):
        return medians(values)
    if isinstance(values[0], str):
        return values[0]
    return max(values) if name == "difference" else round(median(values), 3)


def ratios(contenders: dict[str, Result]) -> dict[str, float]:
    """Return each contender's time over raypipe's, and raypipe's steady state over the limit's sum."""
    own = contenders.get("raypipe")
    if own is None:
        return {}
    found = {}
    for name, one in contenders.items():
        if name not in ("raypipe", "limit"):
            found[f"{name}/raypipe"] = round(one["seconds"] / own["seconds"], 2)
            found[f"{name}/raypipe steady"] = round(one["steady_seconds"] / own["steady_seconds"], 2)
    if BEFORE in contenders:
        found[f"raypipe/{BEFORE} core-seconds"] = round(own["core_seconds"] / contenders[BEFORE]["core_seconds"], 2)
    if "limit" in contenders:
        found["raypipe steady/limit"] = round(own["steady_seconds"] / sum(contenders["limit"].values()), 2)
    return found


def table(result: dict[str, Any]) -> str:
    """Return the document as a table."""
    lines = [
        f"{result['users']} users, {result['cores']} cores, medians of {result['repeats']}",
        f"{'':22}{'seconds':>10}{'steady':>10}{'rows/s steady':>15}"
        f"{'core-s':>10}{'server':>10}{'peak MB':>10}{'all MB':>10}",
    ]
    for name, one in result["contenders"].items():
        if name == "limit":
            continue
        speed = result["users"] / one["steady_seconds"]
        lines.append(
            f"{name:22}{one['seconds']:10.2f}{one['steady_seconds']:10.2f}{speed:15.0f}"
            f"{one['core_seconds']:10.1f}{one['server_core_seconds']:10.1f}"
            f"{one['peak_mb']:10.0f}{one['peak_mb_sum']:10.0f}"
        )
    limit = result["contenders"].get("limit")
    if limit:
        parts = "  ".join(f"{name} {seconds:.2f}" for name, seconds in limit.items())
        lines.append(f"{'limit':22}{'':10}{sum(limit.values()):10.2f}    {parts}")
    lines += [f"  {name}: {value:.2f}" for name, value in result["ratios"].items()]
    for name, one in result["contenders"].items():
        if one.get("time"):
            lines.append(f"  {name}: " + "  ".join(f"{part} {value:.2f}" for part, value in one["time"].items()))
    if result["ray_builtin_settings"]:
        lines += [f"  {name} at its best: {found}" for name, found in result["ray_builtin_settings"].items()]
    return "\n".join(lines)
