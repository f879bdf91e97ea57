"""Test that the loader of examples/telco reads the published sample and explains errors in other files."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from raypipe.config.load import load_pipeline
from raypipe.errors import DataError

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "telco"
HEADER = (
    "customerID,gender,SeniorCitizen,Partner,Dependents,tenure,PhoneService,MultipleLines,InternetService,OnlineSecurity,"
    "OnlineBackup,DeviceProtection,TechSupport,StreamingTV,StreamingMovies,Contract,PaperlessBilling,PaymentMethod,"
    "MonthlyCharges,TotalCharges,Churn"
)
PAYING = "1-A,Male,0,No,No,34,Yes,No,DSL,Yes,No,Yes,No,No,No,One year,No,Mailed check,56.95,1889.5,Yes"
NEW = "2-B,Female,1,Yes,Yes,0,Yes,No,No,No,No,No,No,No,No,Two year,No,Mailed check,20, ,No"


@pytest.fixture(scope="module")
def loader() -> ModuleType:
    spec = importlib.util.spec_from_file_location("telco_load", EXAMPLE / "load.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def written(folder: Path, *lines: str) -> Path:
    path = folder / "customers.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_a_blank_total_before_the_first_bill_is_null(loader: ModuleType, tmp_path: Path) -> None:
    customers = loader.EXAMPLE.read(written(tmp_path, HEADER, PAYING, NEW))
    assert customers.column("total_charges").to_pylist() == [1889.5, None]


def test_no_is_a_value_and_not_a_missing_one(loader: ModuleType, tmp_path: Path) -> None:
    customers = loader.EXAMPLE.read(written(tmp_path, HEADER, NEW))
    assert customers.column("internet_service").to_pylist() == ["No"]


def test_a_file_without_a_column_is_refused_by_name(loader: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Churn"):
        loader.EXAMPLE.read(written(tmp_path, HEADER.removesuffix(",Churn"), PAYING.removesuffix(",Yes")))


def test_a_missing_file_is_refused_by_name(loader: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.csv"):
        loader.EXAMPLE.read(tmp_path / "absent.csv")


def test_the_pipeline_uses_every_column_but_the_key_and_the_label(loader: ModuleType) -> None:
    features = {feature.name for feature in load_pipeline("telco", EXAMPLE / "configs", environ={}).config.features}
    assert features == {name for name, _ in loader.COLUMNS.values()} - {"customer_id", "churn"}
