"""Check the manifests by the schemas of Kubernetes, and by those of KubeRay where a folder has its CRDs.

    uvx --with kubernetes-validate==1.37.0 python deploy/kubernetes/check.py [CRDS]

`make check-deploy` runs it. The CRDs are in KubeRay's repository, under helm-chart/kuberay-operator/crds.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml

KUBERNETES = "1.34"
FOLDER = Path(__file__).parent


def pods(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every pod spec inside a manifest."""
    if isinstance(value, dict):
        if "containers" in value:
            yield value
        for inner in value.values():
            yield from pods(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from pods(inner)


def closed(schema: Any) -> Any:
    """Return a schema that refuses unknown keys, which the API server would drop in silence."""
    if isinstance(schema, list):
        return [closed(inner) for inner in schema]
    if not isinstance(schema, dict):
        return schema
    strict = {key: closed(inner) for key, inner in schema.items()}
    is_open = schema.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in schema
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object" and not is_open:
        strict["additionalProperties"] = False
    return strict


def schema_of(manifest: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return KubeRay's schema of a resource."""
    group, _, version = manifest["apiVersion"].partition("/")
    definition = yaml.safe_load((folder / f"{group}_{manifest['kind'].lower()}s.yaml").read_text(encoding="utf-8"))
    (found,) = [item for item in definition["spec"]["versions"] if item["name"] == version and item["served"]]
    schema: dict[str, Any] = closed(found["schema"]["openAPIV3Schema"])
    # The API server checks these by itself.
    schema["properties"]["metadata"] = {"type": "object"}
    return schema


def main() -> None:
    """Check every manifest of this folder."""
    crds = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    for path in sorted(FOLDER.glob("*.yaml")):
        manifest = yaml.safe_load(path.read_text(encoding="utf-8"))
        checked = []
        if not manifest["apiVersion"].startswith(("ray.io", "kustomize")):
            kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
            checked.append(f"Kubernetes {KUBERNETES}")
        for spec in pods(manifest):
            pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "checked"}, "spec": spec}
            kubernetes_validate.validate(pod, KUBERNETES, strict=True)
            checked.append("a pod")
        if crds and manifest["apiVersion"].startswith("ray.io"):
            jsonschema.validate(manifest, schema_of(manifest, crds))
            checked.append("KubeRay")
        print(f"{path.name}: {', '.join(checked) or 'not checked'}")


if __name__ == "__main__":
    main()
