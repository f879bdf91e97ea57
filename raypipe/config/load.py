"""Find and load the configuration of a pipeline, with the source of every value."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from raypipe.config.check import check
from raypipe.config.document import Document, Node, read
from raypipe.config.extends import extended, with_auto, with_definitions
from raypipe.config.job import refuse_vanishing_folders, require_working_dir
from raypipe.config.layers import merged, with_environment, with_overrides, with_url
from raypipe.config.leaves import sources_of
from raypipe.config.problems import Problem, nearest, refusal, shown
from raypipe.config.schema import PipelineConfig
from raypipe.config.shared import SharedConfig
from raypipe.errors import UsageError
from raypipe.project import read_ahead, shipped, sql_path

BASE = "base"
# The step before all pipelines, in `after`, and the folder of its SQL.
FEATURES = "features"
# The keys that a comparison does not take from the pipeline that it names.
UNSHARED = ("pipeline", "description", "enabled", "after", "model")


@dataclass(frozen=True)
class Loaded:
    """A pipeline's configuration.

    Attributes:
        sources: by dotted path, the source of each value: `configs/churn.yaml:12`, `RAYPIPE_URL`, `--set`, `--url` or
            `default`.
        sql_directory: the project's folder of SQL, beside that of its configs.
    """

    config: PipelineConfig
    sources: Mapping[str, str]
    sql_directory: Path

    def sql(self, path: str) -> Path:
        """Return the file of a path in the configuration, such as `churn/publish.sql` or `shared/predictions.sql`."""
        return sql_path(self.sql_directory, path)

    def tables(self) -> set[str]:
        """Return the tables that the configuration names: the source and the targets."""
        return {self.config.source.table, *(publish.target for publish in self.config.publish)}

    def sql_files(self) -> set[Path]:
        """Return the SQL files of a night of this pipeline, those of the features that it waits for included."""
        folders = [self.sql_directory / self.config.pipeline]
        if FEATURES in self.config.after:
            folders.append(self.sql(FEATURES))
        paths = {self.sql(publish.sql) for publish in self.config.publish}
        return paths.union(*(folder.glob("*.sql") for folder in folders))


def config_directory(config_dir: Path | str | None = None) -> Path:
    """Return the folder of the configuration: the given folder, else `./configs`, else raypipe's own.

    Raises:
        UsageError: the given folder does not exist.
        ClusterError: the working directory of a job is gone.
    """
    if config_dir is None:
        require_working_dir()
        here = Path("configs")
        return here if here.is_dir() else shipped() / "configs"
    directory = Path(config_dir)
    if not directory.is_dir():
        raise UsageError(
            "The configuration folder does not exist",
            found=str(directory),
            allowed="a folder with a YAML file per pipeline, and a folder `sql` beside it",
            next_step="correct --config; without it, ./configs or raypipe's own pipelines apply",
        )
    return directory


def list_pipelines(config_dir: Path | str | None = None) -> list[str]:
    """Return the names of the pipelines in a configuration folder, in alphabetical order."""
    # An editor's lock or backup, such as .#churn.yaml, is not a pipeline.
    return sorted(path.stem for path in config_directory(config_dir).glob("[!.]*.yaml") if path.stem != BASE)


def load_pipeline(
    name: str,
    config_dir: Path | str | None = None,
    overrides: Iterable[str] = (),
    environ: Mapping[str, str] = os.environ,
    url: str | None = None,
) -> Loaded:
    """Load the configuration of a pipeline: base.yaml < NAME.yaml < the environment < --set < --url.

    A file that NAME.yaml extends comes between base.yaml and NAME.yaml. So does the pipeline that `baselines.of` names.

    Args:
        name: the pipeline, `churn` for configs/churn.yaml.
        overrides: `key=value` each, keys dotted, values YAML.
        url: ClickHouse's address from the command line.

    Raises:
        UsageError: there is no such pipeline or folder.
        ConfigError: the configuration has problems; the message lists each with its file and line.
    """
    directory = config_directory(config_dir)
    known = list_pipelines(directory)
    if name not in known:
        raise _unknown_pipeline(name, known, directory)
    base, own, given = _base(directory), _file(directory, name), tuple(overrides)

    def layered(lower: Document) -> Document:
        document = with_definitions(_over(lower, own))
        return with_url(with_overrides(with_environment(document, environ), given), url)

    document = layered(base)
    shared = _compared_with(document, name, directory)
    if shared is not None:
        document = layered(_over(base, shared))
    config, problems = check(PipelineConfig, document.root)
    problems = [*document.problems, *_misnamed(document.root, name), *problems]
    if config is None or problems:
        raise refusal(f"The configuration of {name}", problems)
    refuse_vanishing_folders(config, environ)
    read_ahead(directory.parent / "sql")
    # Half of the files may have been gone already.
    require_working_dir(environ)
    return Loaded(config, sources_of(config, document.root), directory.parent / "sql")


def load_shared(
    config_dir: Path | str | None = None, url: str | None = None, environ: Mapping[str, str] = os.environ
) -> SharedConfig:
    """Load the configuration of commands without a pipeline: base.yaml < the environment < --url.

    Raises:
        UsageError: the folder does not exist.
        ConfigError: the configuration has problems; the message lists each with its file and line.
    """
    document = with_url(with_environment(_base(config_directory(config_dir)), environ), url)
    # base.yaml may contain defaults of a pipeline's own keys; they are checked with the pipeline.
    of_pipelines = PipelineConfig.model_fields.keys() - SharedConfig.model_fields.keys()
    shared = {key: node for key, node in document.root.value.items() if key not in of_pipelines}
    document = Document(Node(shared, document.root.place), document.problems)
    config, problems = check(SharedConfig, document.root)
    if config is None or document.problems:
        raise refusal("The configuration", [*document.problems, *problems])
    refuse_vanishing_folders(config, environ)
    return config


def _compared_with(document: Document, name: str, directory: Path) -> Document | None:
    """Return the values that a comparison takes from the pipeline that it names; None for other pipelines.

    Raises:
        ConfigError: there is no such pipeline, or it has no labelled rows to share.
    """
    section = document.root.child("baselines")
    of = section.child("of") if section else None
    if of is None or not isinstance(of.value, str):
        return None
    others = [other for other in list_pipelines(directory) if other != name]
    other = _file(directory, of.value) if of.value in others else None
    unlabelled = other is not None and any(other.root.child(key) for key in ("ads", "baselines"))
    if other is None or unlabelled:
        message = "names a pipeline without labels to fit on" if unlabelled else "names a pipeline that does not exist"
        allowed = ", ".join(others) if other is None else "a pipeline that fits a model of its own"
        problem = Problem(of.place, ("baselines", "of"), message, shown(of.value), allowed)
        raise refusal(f"The configuration of {name}", [*document.problems, problem])
    shared = {key: node for key, node in other.root.value.items() if key not in UNSHARED}
    return Document(Node(shared, other.root.place), other.problems)


def _over(lower: Document, upper: Document) -> Document:
    return Document(merged(lower.root, upper.root), (*lower.problems, *upper.problems))


def _file(directory: Path, name: str) -> Document:
    """Read a pipeline's file over the files that it extends."""
    own = read(directory / f"{name}.yaml", display(directory / f"{name}.yaml"))
    return with_auto(extended(own, (directory, shipped() / "configs"), display))


def _misnamed(root: Node, name: str) -> list[Problem]:
    given = root.child("pipeline")
    if given is None or given.value == name:
        return []
    return [Problem(given.place, ("pipeline",), "differs from the file's name", shown(given.plain()), name)]


def _base(directory: Path) -> Document:
    path = directory / f"{BASE}.yaml"
    return read(path, display(path)) if path.exists() else Document(Node({}, display(path)))


def _unknown_pipeline(name: str, known: list[str], directory: Path) -> UsageError:
    meant = nearest(name, known)
    return UsageError(
        f"There is no pipeline {name!r} in {display(directory)}",
        allowed=", ".join(known) or "none: the folder contains no pipeline",
        next_step=f"did you mean {meant}?"
        if meant
        else f"write {display(directory / 'NAME.yaml')}, or name another folder with --config",
    )


def display(path: Path) -> str:
    """Return a path as users type it: relative to the working directory if it lies below."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except (ValueError, FileNotFoundError):
        # Outside of the working directory, or in one that is gone.
        return str(path)
