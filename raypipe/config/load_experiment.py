"""Find and load the configuration of an experiment: configs/experiments/NAME.yaml over base.yaml."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from raypipe.config.check import check
from raypipe.config.document import read
from raypipe.config.experiment import ExperimentConfig
from raypipe.config.load import config_directory, display, load_shared
from raypipe.config.problems import nearest, refusal
from raypipe.config.shared import SharedConfig
from raypipe.errors import UsageError
from raypipe.project import sql_path

FOLDER = "experiments"


@dataclass(frozen=True)
class LoadedExperiment:
    """An experiment's configuration, beside that of the commands without a pipeline.

    Attributes:
        sql_directory: the project's folder of SQL, beside that of its configs.
    """

    name: str
    config: ExperimentConfig
    shared: SharedConfig
    sql_directory: Path

    def sql(self, path: str) -> Path:
        """Return the file of a path in the configuration, such as `experiments/headline.sql`."""
        return sql_path(self.sql_directory, path)


def list_experiments(config_dir: Path | str | None = None) -> list[str]:
    """Return the names of the experiments in a configuration folder, in alphabetical order."""
    return sorted(path.stem for path in (config_directory(config_dir) / FOLDER).glob("[!.]*.yaml"))


def load_experiment(
    name: str,
    config_dir: Path | str | None = None,
    url: str | None = None,
    environ: Mapping[str, str] = os.environ,
) -> LoadedExperiment:
    """Load the configuration of an experiment.

    Args:
        name: the experiment, `headline` for configs/experiments/headline.yaml.
        url: ClickHouse's address from the command line.

    Raises:
        UsageError: there is no such experiment or folder.
        ConfigError: the configuration has problems; the message lists each with its file and line.
    """
    directory = config_directory(config_dir)
    known = list_experiments(directory)
    if name not in known:
        raise _unknown(name, known, directory)
    path = directory / FOLDER / f"{name}.yaml"
    document = read(path, display(path))
    config, problems = check(ExperimentConfig, document.root)
    if config is None or document.problems:
        error = refusal(f"The experiment {name}", [*document.problems, *problems])
        error.next_step = "correct the places named; docs/experiments.md describes every key"
        raise error
    return LoadedExperiment(name, config, load_shared(directory, url, environ), directory.parent / "sql")


def _unknown(name: str, known: list[str], directory: Path) -> UsageError:
    folder = display(directory / FOLDER)
    meant = nearest(name, known)
    return UsageError(
        f"There is no experiment {name!r} in {folder}",
        allowed=", ".join(known) or "none: the folder contains no experiment",
        next_step=f"did you mean {meant}?" if meant else f"write {folder}/{name}.yaml, or name another --config",
    )
