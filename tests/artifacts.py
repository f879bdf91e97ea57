"""Artifacts as earlier versions of raypipe wrote them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from raypipe.artifact.files import Artifact


def as_format_1(files: Mapping[str, bytes], root: Path, family: str = "raypipe.models.kmeans:KMeans") -> Artifact:
    """Store files in the first format: no format in the manifest, a model class of the earlier layout."""
    content = dict(files)
    decision = {**json.loads(content["decision.json"]), "family": family}
    content["decision.json"] = json.dumps(decision, indent=1, sort_keys=True).encode()
    listed = {name: {"sha256": hashlib.sha256(body).hexdigest(), "size": len(body)} for name, body in content.items()}
    manifest = json.dumps({"files": listed}, sort_keys=True, separators=(",", ":")).encode()
    sha256 = hashlib.sha256(manifest).hexdigest()
    folder = root / sha256[:2] / sha256
    folder.mkdir(parents=True)
    for name, body in {**content, "manifest.json": manifest}.items():
        (folder / name).write_bytes(body)
    return Artifact(str(folder), sha256)
