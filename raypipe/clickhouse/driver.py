"""Open the connections of ClickHouse's driver, with the pins."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import clickhouse_connect
from clickhouse_connect import common
from clickhouse_connect.driver.client import Client as Driver
from clickhouse_connect.driver.exceptions import OperationalError

from raypipe.clickhouse import pins
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.server_errors import translated
from raypipe.errors import ConfigError

CONNECT_TIMEOUT_SECONDS = 10

common.set_setting("autogenerate_session_id", False)
# The driver would log an error that raypipe raises anyway.
logging.getLogger("clickhouse_connect").setLevel(logging.CRITICAL)


def opened(endpoint: Endpoint, settings: Mapping[str, Any]) -> Driver:
    """Connect to an endpoint; each statement then carries the settings and the pins.

    Raises:
        ConfigError: the user's profile changes answers in a way that raypipe cannot undo, or the password file or the
            CA file cannot be used.
    """
    with translated(str(endpoint)):
        _require_authorities(endpoint)
        driver = _connected(endpoint, settings)
        # urllib3 would replay a request on a fresh connection; only `retry.repeat` may.
        driver.http_retries = 0  # type: ignore[attr-defined]
        try:
            pins.pin(driver, str(endpoint), settings)
        except BaseException:
            driver.close()
            raise
        return driver


def _require_authorities(endpoint: Endpoint) -> None:
    """Refuse a `ca_file` that TLS cannot use; the driver would report it as a server that does not answer."""
    if endpoint.ca_file is None or not endpoint.url.startswith("https:"):
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(endpoint.ca_file)
    except OSError as error:
        raise ConfigError(
            f"The CA file {endpoint.ca_file} cannot be used",
            found=error.strerror or str(error),
            allowed="a PEM bundle of certificates",
            next_step="correct connection.ca_file or RAYPIPE_CA_FILE",
        ) from error


def _connected(endpoint: Endpoint, settings: Mapping[str, Any]) -> Driver:
    parts = urlsplit(endpoint.url)
    try:
        return clickhouse_connect.get_client(
            host=parts.hostname or "",
            port=parts.port or 0,
            interface=parts.scheme,
            username=endpoint.user,
            password=endpoint.password(),
            database=endpoint.database,
            # Arrow compresses its own buffers (see `stream`). In an uncompressed body the text of an error
            # that breaks off a stream stays readable.
            compress=False,
            connect_timeout=CONNECT_TIMEOUT_SECONDS,
            send_receive_timeout=endpoint.timeout_seconds,
            ca_cert=endpoint.ca_file,
            verify=True,
            autogenerate_session_id=False,
            query_retries=0,
            settings=dict(settings),
        )
    except OperationalError as error:
        if "Unexpected response" not in str(error):
            raise
        raise pins.unlisted(str(endpoint), str(error)) from error
