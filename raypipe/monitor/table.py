"""The table ml_model_monitoring, and the ids of its rows."""

import uuid

TABLE = "ml_model_monitoring"
UINT16_MAX, UINT32_MAX = 2**16 - 1, 2**32 - 1


def id_of(name: str) -> str:
    """Return the id of a row, derived from a name that no other row has, such as `monitoring:<run id>`."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"raypipe:{name}"))
