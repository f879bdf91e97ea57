"""Write and read skops files of listed types; any other type is refused before anything is imported or constructed.

skops itself trusts every estimator of scikit-learn and every ufunc of NumPy and SciPy, and its early versions imported
named types while they inspected a file. Here the file's schema is read first, as plain JSON.
"""

import io
import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

from raypipe.errors import ConfigError, ModelError

FILE = "model.skops"
_SCHEMA = "schema.json"
_TYPE_KEYS = ("__module__", "__class__", "__loader__")
# Every zip entry carries a time; this is the earliest that a zip can hold.
_NO_TIME = (1980, 1, 1, 0, 0, 0)
_NUMBERS = ("bool", "bool_", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint32", "uint64")

# The types that a file may hold, by the loader of skops that constructs them. Both must match: several security holes
# of skops were a harmless type beside a loader that constructs another.
TRUSTED: Mapping[str, frozenset[str]] = {
    "JsonNode": frozenset({"builtins.str"}),
    "TypeNode": frozenset({"builtins.str", "builtins.int", "builtins.float", "builtins.bool"}),
    "DictNode": frozenset({"builtins.dict"}),
    "ListNode": frozenset({"builtins.list"}),
    "TupleNode": frozenset({"builtins.tuple"}),
    "DTypeNode": frozenset({"numpy.dtype"}),
    "NdArrayNode": frozenset({"numpy.ndarray", *(f"numpy.{name}" for name in _NUMBERS)}),
    "TreeNode": frozenset({"sklearn.tree._tree.Tree"}),
    "ObjectNode": frozenset(
        {
            "sklearn.pipeline.Pipeline",
            "sklearn.impute._base.SimpleImputer",
            "sklearn.preprocessing._data.StandardScaler",
            "sklearn.preprocessing._label.LabelBinarizer",
            "sklearn.linear_model._logistic.LogisticRegression",
            "sklearn.linear_model._ridge.Ridge",
            "sklearn.ensemble._forest.RandomForestClassifier",
            "sklearn.ensemble._forest.RandomForestRegressor",
            "sklearn.tree._classes.DecisionTreeClassifier",
            "sklearn.tree._classes.DecisionTreeRegressor",
            "sklearn.neural_network._multilayer_perceptron.MLPClassifier",
            "sklearn.neural_network._multilayer_perceptron.MLPRegressor",
        }
    ),
}


def dump(estimator: Any) -> bytes:
    """Return the estimator as a skops file, without the memory addresses and times that skops writes.

    Raises:
        ModelError: the estimator holds a type that `load` would refuse.
    """
    skops = _library()
    content = _canonical(skops.dumps(estimator))
    check(content)
    return content


def load(content: bytes) -> Any:
    """Load the estimator of a skops file; pass verified bytes only, as scikit-learn does not check a tree's indices.

    Raises:
        ModelError: the bytes are no skops file, or hold a type that is not listed.
    """
    check(content)
    skops = _library()
    try:
        return skops.loads(content, trusted=sorted(set().union(*TRUSTED.values())))
    except Exception as error:  # a broken file makes NumPy, zipfile or an estimator raise anything
        raise _unreadable(error) from error


def check(content: bytes) -> None:
    """Refuse a file that is no skops file or holds a type that is not in `TRUSTED`, without importing any.

    Raises:
        ModelError: names the types.
    """
    foreign = set()
    for node in _nodes(_schema(content)):
        module, name, loader = (str(node.get(key)) for key in _TYPE_KEYS)
        if f"{module}.{name}" not in TRUSTED.get(loader, ()):
            foreign.add(f"{module}.{name} by {loader}")
    if foreign:
        raise ModelError(
            f"{FILE} holds types that raypipe does not load",
            found=", ".join(sorted(foreign)),
            allowed="the types of raypipe.models.skops_file.TRUSTED",
            next_step="if the file is your own, fit a new version with the installed scikit-learn and skops",
        )


def _schema(content: bytes) -> Any:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return json.loads(archive.read(_SCHEMA))
    # The file may be no zip, lack a schema, not unpack, be no JSON, or be nested too deeply.
    except (zipfile.BadZipFile, zlib.error, KeyError, ValueError, EOFError, OSError, RuntimeError) as error:
        raise _unreadable(error) from error


def _nodes(schema: Any) -> Iterator[dict[str, Any]]:
    """Yield every object of the schema that names a type, at any depth."""
    waiting = [schema]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if any(key in value for key in _TYPE_KEYS):
                yield value
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)


def _canonical(content: bytes) -> bytes:
    """Return the file with running numbers instead of memory addresses, and without times."""
    schema = _schema(content)
    numbers: dict[Any, int] = {}
    files: dict[str, str] = {}
    for node in _nodes(schema):
        if "__id__" in node:
            node["__id__"] = numbers.setdefault(node["__id__"], len(numbers) + 1)
        if "file" in node:
            node["file"] = files.setdefault(node["file"], f"{len(files)}.npy")
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(target, "w") as archive:
        _add(archive, _SCHEMA, json.dumps(schema).encode())
        for old, new in files.items():
            _add(archive, new, source.read(old))
    return target.getvalue()


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    archive.writestr(zipfile.ZipInfo(name, _NO_TIME), content, zipfile.ZIP_DEFLATED)


def _unreadable(error: Exception) -> ModelError:
    return ModelError(f"{FILE} is not a model that skops can read", found=f"{type(error).__name__}: {error}")


def _library() -> Any:
    try:
        import skops.io
    except ImportError as error:
        raise ConfigError(
            "The model class needs skops, which is not installed",
            next_step="pip install 'scikit-learn>=1.9' 'skops>=0.16' (the extra `sklearn`)",
        ) from error
    return skops.io
