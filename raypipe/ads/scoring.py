"""Score contexts with a policy, and stage the answers as one slice of a run."""

import json
import secrets
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from raypipe.ads.bandit import ContextPolicy, Policy
from raypipe.artifact.contract import KEY_HASH
from raypipe.clickhouse import sharding
from raypipe.clickhouse.client import Client, content_token
from raypipe.data.slices import Slice, unsliced
from raypipe.errors import ModelError
from raypipe.score import ledger
from raypipe.score.ledger import UINT64, Receipt
from raypipe.score.manifest import Manifest
from raypipe.score.worker import peak_mb

KEY = "context"
# The columns that publish.sql reads beside the key, with their types.
CARRY = {
    "company_id": "String",
    "brand_id": "String",
    "arm": "String",
    "expected": "Float64",
    "share": "Float64",
    "best": "Float64",
    "observed": "String",
    "answer": "String",
}


def score_contexts(
    client: Client, manifest: Manifest, piece: Slice, policy: Policy, dimensions: Mapping[str, Mapping[str, str]]
) -> Receipt:
    """Stage the policy's answer for every context of the population, and record the slice in the ledger.

    Raises:
        ModelError: the population has a context that the policy does not know.
    """
    started = time.time()
    population = client.table(unsliced(manifest.select), manifest.select_parameters)
    names = population[KEY].to_pylist()
    unknown = sorted(set(names) - policy.contexts.keys())
    if unknown:
        raise ModelError("The policy does not know a context of the population", found=", ".join(unknown[:5]))
    rows = [_row(policy.contexts[name], dimensions[name], manifest.model_version) for name in names]
    attempt = secrets.randbits(63)
    checksum = int(np.sum(population[KEY_HASH].to_numpy(), dtype=np.uint64)) % UINT64
    _stage(sharding.shards(client)[piece.shard], manifest, rows, piece.index, attempt)
    seconds = time.time() - started
    receipt = Receipt(
        piece.index,
        attempt,
        len(rows),
        len(rows),
        0,
        checksum,
        checksum,
        1,
        {"read": 0.0, "predict": 0.0, "insert": round(seconds, 4)},
        started,
        started + seconds,
        round(peak_mb(), 1),
    )
    ledger.record(client, manifest.run_id, receipt)
    return receipt


def _stage(client: Client, manifest: Manifest, rows: list[dict[str, Any]], piece: int, attempt: int) -> None:
    carried = {name: pa.string() if kind == "String" else pa.float64() for name, kind in CARRY.items()}
    own = {"score": pa.float32(), "slice": pa.uint32(), "chunk": pa.uint32(), "attempt": pa.uint64()}
    schema = pa.schema({KEY: pa.string(), **carried, **own})
    staged = [{**row, "score": row["expected"], "slice": piece, "chunk": 0, "attempt": attempt} for row in rows]
    token = content_token(manifest.run_id, piece, attempt, *(json.dumps(row, sort_keys=True) for row in rows))
    data = pa.Table.from_pylist(staged, schema=schema)
    client.insert(manifest.staging, data, token=token, columns=schema.names)


def _row(context: ContextPolicy, dimensions: Mapping[str, str], version: str) -> dict[str, Any]:
    chosen = context.arm(context.recommended)
    arms = [
        (arm.arm, {**arm.to_json(), "expected": arm.expected, "low": arm.low, "high": arm.high}) for arm in context.arms
    ]
    return {
        KEY: context.context,
        "company_id": dimensions["company_id"],
        "brand_id": dimensions["brand_id"],
        "arm": context.recommended,
        "expected": chosen.expected if chosen else 0.0,
        "share": chosen.share if chosen else 0.0,
        "best": chosen.best if chosen else 0.0,
        "observed": json.dumps(dict(dimensions)),
        "answer": json.dumps({"model_version": version, "status": context.status, "arms": arms}),
    }
