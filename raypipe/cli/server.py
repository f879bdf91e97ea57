"""Define `raypipe server`."""

import shutil
from pathlib import Path

from raypipe.cli import output
from raypipe.cli.options import Options, command
from raypipe.clickhouse.connect import EMBEDDED
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.config.load import load_shared
from raypipe.errors import UsageError


@command()
def server(options: Options) -> None:
    """Keep the embedded ClickHouse up for other programs.

    It runs in the foreground until Ctrl-C. Other commands start the engine by themselves, and share this one while it
    runs.

    Example: raypipe server --url chdb:.raypipe/clickhouse
    """
    address = load_shared(options.config, options.url).connection.url
    if not address.startswith(EMBEDDED):
        raise UsageError(
            "raypipe serves the embedded engine alone",
            found=address,
            allowed="chdb:PATH",
            next_step="name a folder with --url chdb:PATH; a ClickHouse server runs by itself",
        )
    from raypipe.clickhouse.embedded import serve

    serve(Path(address.removeprefix(EMBEDDED)), lambda endpoint: _announce(options, endpoint))


def _announce(options: Options, endpoint: Endpoint) -> None:
    options.show({"url": str(endpoint), "password_file": endpoint.password_file}, _print, endpoint)


def _print(endpoint: Endpoint) -> None:
    output.say(f"ClickHouse answers at {endpoint}; its password is in {endpoint.password_file}")
    if shutil.which("curl"):
        output.say(
            f'try: curl -u "{endpoint.user}:$(cat {endpoint.password_file})" "{endpoint.url}/?query=SELECT+version()"'
        )
