"""Load IBM's telco churn sample, a CSV of 7,043 customers, into the table telco_customers.

python examples/telco/load.py PATH [--url URL] [--replace]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pyarrow as pa
from pyarrow import csv

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.connect import connected
from raypipe.clickhouse.statements import load
from raypipe.clickhouse.tables import describe
from raypipe.config.load import load_shared
from raypipe.errors import DataError, RaypipeError

HERE = Path(__file__).resolve().parent
TABLE = "telco_customers"
SCHEMA = HERE / "sql" / "telco" / "schema.sql"
# Each column of the CSV, in its order, with its name in the table and its type.
COLUMNS = {
    "customerID": ("customer_id", pa.string()),
    "gender": ("gender", pa.string()),
    "SeniorCitizen": ("senior_citizen", pa.uint8()),
    "Partner": ("partner", pa.string()),
    "Dependents": ("dependents", pa.string()),
    "tenure": ("tenure_months", pa.uint16()),
    "PhoneService": ("phone_service", pa.string()),
    "MultipleLines": ("multiple_lines", pa.string()),
    "InternetService": ("internet_service", pa.string()),
    "OnlineSecurity": ("online_security", pa.string()),
    "OnlineBackup": ("online_backup", pa.string()),
    "DeviceProtection": ("device_protection", pa.string()),
    "TechSupport": ("tech_support", pa.string()),
    "StreamingTV": ("streaming_tv", pa.string()),
    "StreamingMovies": ("streaming_movies", pa.string()),
    "Contract": ("contract", pa.string()),
    "PaperlessBilling": ("paperless_billing", pa.string()),
    "PaymentMethod": ("payment_method", pa.string()),
    "MonthlyCharges": ("monthly_charges", pa.float64()),
    "TotalCharges": ("total_charges", pa.float64()),
    "Churn": ("churn", pa.string()),
}


def read_customers(path: Path) -> pa.Table:
    """Read the CSV into a table with the columns of telco_customers. A blank TotalCharges becomes NULL.

    Raises:
        DataError: The file is missing or is not the telco sample.
    """
    types = {name: kind for name, (_, kind) in COLUMNS.items()}
    options = csv.ConvertOptions(column_types=types, include_columns=list(COLUMNS), null_values=["", " "])
    try:
        table = csv.read_csv(path, convert_options=options)
    except (OSError, pa.ArrowException) as error:
        raise DataError(
            f"{path} cannot be read as the telco sample",
            found=str(error),
            allowed=f"a CSV with the columns {', '.join(COLUMNS)}",
        ) from error
    return table.rename_columns([name for name, _ in COLUMNS.values()])


def fill(client: Client, customers: pa.Table, *, replace: bool) -> None:
    """Create telco_customers and insert the customers. With `replace`, drop an existing table first."""
    if replace:
        client.run(f"DROP TABLE IF EXISTS {TABLE} SYNC")
    elif describe(client, TABLE) is not None:
        raise DataError(
            f"The table {TABLE} exists already",
            found=str(client.endpoint),
            next_step="leave it as it is, or drop and load it again with --replace",
        )
    client.run(load(SCHEMA).text)
    client.insert(TABLE, customers)


def main() -> int:
    """Parse the arguments and load the file. Print an error without a traceback."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path, help="the CSV file")
    parser.add_argument("--url", help="URL of ClickHouse; default: RAYPIPE_URL, or the embedded engine in .raypipe/")
    parser.add_argument("--replace", action="store_true", help="drop telco_customers first if it exists")
    arguments = parser.parse_args()
    try:
        customers = read_customers(arguments.path)
        connection = load_shared(HERE / "configs", arguments.url).connection
        with (
            connected(connection.url, connection.password_file, connection.ca_file) as endpoint,
            Client(endpoint) as client,
        ):
            fill(client, customers, replace=arguments.replace)
    except RaypipeError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(f"{TABLE}: {customers.num_rows:,} customers")
    return 0


if __name__ == "__main__":
    sys.exit(main())
