"""Load IBM's telco churn sample, a CSV of 7,043 customers, into the table telco_customers.

python examples/telco/load.py PATH [--url URL] [--replace]
"""

from __future__ import annotations

import sys
from pathlib import Path

import pyarrow as pa

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from loading import Example  # noqa: E402 - it lies beside the examples' folders

# Each column of the file, in its order, with its name in the table and its type.
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
EXAMPLE = Example(HERE, "telco_customers", "the telco sample", COLUMNS)

if __name__ == "__main__":
    sys.exit(EXAMPLE.main())
