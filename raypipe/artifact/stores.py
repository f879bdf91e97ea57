"""The places of artifacts: the table of the ClickHouse that has the registry, or a folder of any file system."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from raypipe.artifact import files, folders
from raypipe.artifact.files import Artifact, Stored
from raypipe.artifact.table import ADDRESS, Table
from raypipe.clickhouse.client import Client
from raypipe.config.shared import CLICKHOUSE
from raypipe.errors import ConfigError


class Store(Protocol):
    """A place of artifacts, each under the hash of its manifest."""

    def require(self) -> None:
        """Refuse a store that cannot take an artifact, before the work of a fit."""

    def put(self, content: Mapping[str, bytes]) -> Artifact:
        """Store files as one artifact; storing the same files again changes nothing."""

    def open(self, sha256: str, *, pipeline: str = "", version: str = "") -> dict[str, bytes]:
        """Return the files of an artifact after verifying every byte; the names are for errors."""

    def check(self, sha256: str) -> None:
        """Verify every byte in the store itself, whatever copies of the artifact there are."""

    def find(self, sha256: str) -> Stored | None:
        """Return an artifact as the store lists it, or None."""

    def listed(self) -> list[Stored]:
        """List all artifacts, with the remains of interrupted saves."""

    def delete(self, doomed: Sequence[Stored]) -> int:
        """Delete listed artifacts, and return their bytes, without those that were gone."""


@dataclass(frozen=True)
class Folder:
    """Artifacts in a folder of any fsspec file system.

    Attributes:
        place: the folder of all artifacts; to open or find an artifact, its own folder will do.
    """

    place: str

    def require(self) -> None:
        """Refuse an address without a file system."""
        files.file_system(self.place)

    def put(self, content: Mapping[str, bytes]) -> Artifact:
        """Store files as one artifact."""
        return files.save(self.place, content)

    def open(self, sha256: str, *, pipeline: str = "", version: str = "") -> dict[str, bytes]:
        """Return the files of an artifact after verifying every byte."""
        return files.load(self.place, sha256, pipeline=pipeline, version=version)

    def check(self, sha256: str) -> None:
        """Verify every byte of an artifact."""
        files.load(self.place, sha256)

    def find(self, sha256: str) -> Stored | None:
        """Return the artifact, or None."""
        return next((stored for stored in self.listed() if stored.name == sha256), None)

    def listed(self) -> list[Stored]:
        """List all artifacts below the folder, with the remains of interrupted saves."""
        return folders.artifact_folders(self.place)

    def delete(self, doomed: Sequence[Stored]) -> int:
        """Delete the folders of artifacts, and return their bytes."""
        return sum(stored.bytes for stored in doomed if folders.remove(stored.uri))


def at(place: str, client: Client | None) -> Store:
    """Return the store of a place.

    Args:
        place: `artifacts` of the config, or the address of an artifact in the registry.
        client: the ClickHouse with the registry; None where the place is known to be a folder.
    """
    if place != CLICKHOUSE and not place.startswith(f"{ADDRESS}/"):
        return Folder(place)
    if client is None:
        raise ConfigError(
            "This artifact is in ClickHouse, and no ClickHouse is at hand",
            found=place,
            next_step="read it through raypipe's commands, or export the version with `raypipe models export`",
        )
    return Table(client)


def delete(doomed: Sequence[Stored], client: Client) -> int:
    """Delete artifacts of any stores, and return their bytes."""
    owners: dict[Store, list[Stored]] = {}
    for stored in doomed:
        owners.setdefault(at(stored.uri, client), []).append(stored)
    return sum(store.delete(group) for store, group in owners.items())
