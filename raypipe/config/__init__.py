"""Load the configuration from base.yaml, a YAML file per pipeline, the environment and the command line."""

from raypipe.config.leaves import as_yaml, show
from raypipe.config.load import Loaded, list_pipelines, load_connection, load_pipeline, load_shared
from raypipe.config.schema import PipelineConfig, json_schema

__all__ = [
    "Loaded",
    "PipelineConfig",
    "as_yaml",
    "json_schema",
    "list_pipelines",
    "load_connection",
    "load_pipeline",
    "load_shared",
    "show",
]
