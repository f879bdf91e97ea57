"""Score in one process with the obvious code: query_df → category codes → predict → insert_df."""

from __future__ import annotations

import time

import numpy as np
import numpy.typing as npt
import pandas as pd

from contenders import predictions
from contenders.job import Job, report
from raypipe.artifact.contract import Contract


def encode(contract: Contract, rows: pd.DataFrame) -> pd.DataFrame:
    """Return the model's feature columns, in its order, as float32. An unknown value is NaN."""
    columns: dict[str, npt.NDArray[np.float32]] = {}
    for feature in contract.features:
        if feature.kind == "category":
            codes = pd.Index(feature.vocabulary).get_indexer(rows[feature.name])
            if feature.encode == "onehot":
                known = np.eye(len(feature.vocabulary), dtype=np.float32)[codes]
                known[codes < 0] = np.nan
                columns |= dict(zip(feature.columns, known.T, strict=True))
            else:
                columns[feature.name] = np.where(codes < 0, np.nan, codes).astype(np.float32)
        else:
            values = rows[feature.name].astype("float32")
            known = values.mask(rows[feature.name].isin(feature.missing)).to_numpy(np.float32, na_value=np.nan)
            columns[feature.name] = np.where(np.isfinite(known), known, np.float32(np.nan))
    return pd.DataFrame(columns)


def main() -> None:
    job = Job.from_command_line()
    client, contract, booster = job.connect(), job.contract(), job.booster(job.cores)
    started = time.perf_counter()
    rows = client.query_df(job.features_sql)
    read = time.perf_counter()
    scores = booster.inplace_predict(encode(contract, rows), validate_features=False)
    predicted = time.perf_counter()
    client.insert_df(job.target, predictions.frame(job, rows[predictions.KEYS], scores))
    inserted = time.perf_counter()
    report(started, read=read - started, predict=predicted - read, insert=inserted - predicted)


if __name__ == "__main__":
    main()
