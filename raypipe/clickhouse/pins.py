"""Pin the settings that change an answer or a write in silence, whatever the user's profile sets.

A setting belongs here if another value shortens or alters a result, or undoes what a statement says, without an error.
A statement that needs another value sends it, and outweighs the pin. These are left to the profile, on purpose:

- every `max_*` limit, `force_*` and `max_estimated_execution_time`: with `throw` they can only fail, and a limit is the
  administrator's right;
- threads, blocks, memory, caches of indexes and conditions, `optimize_*`, `query_plan_*`: they cost time, never rows;
- `compatibility`, `enable_analyzer`: they choose a planner, and newer servers refuse the old planner;
- formats of text, such as `output_format_tsv_*`: raypipe reads Native and Arrow, and `client.ARROW_READ` pins Arrow's;
- the switches of deduplication: an insert with a token sets them all, see `inserts`;
- `inject_random_order_for_select_without_order_by`: nothing relies on an order that it did not ask for.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from clickhouse_connect.driver.client import Client as Driver

from raypipe.errors import ConfigError

# With `break` or `any`, a limit of the profile cuts the answer and reports success.
OVERFLOW = {
    name: "throw"
    for name in (
        "read_overflow_mode",
        "read_overflow_mode_leaf",
        "group_by_overflow_mode",
        "sort_overflow_mode",
        "result_overflow_mode",
        "timeout_overflow_mode",
        "timeout_overflow_mode_leaf",
        "set_overflow_mode",
        "join_overflow_mode",
        "transfer_overflow_mode",
        "distinct_overflow_mode",
    )
}
# They take rows out of tables and results, or leave no result.
FEWER_ROWS = {
    "limit": "0",
    "offset": "0",
    "additional_table_filters": "{}",
    "additional_result_filter": "",
    "partial_result_on_first_cancel": "0",
    "discard_query_data": "0",
    "run_query_in_background": "0",
    "ignore_cold_parts_seconds": "0",
    "s3_ignore_file_doesnt_exist": "0",
    "hdfs_ignore_file_doesnt_exist": "0",
    "azure_ignore_file_doesnt_exist": "0",
}
# They show deleted, replaced or earlier rows, or add rows of totals.
OTHER_ROWS = {
    "final": "0",
    "do_not_merge_across_partitions_select_final": "0",
    "use_skip_indexes_if_final_exact_mode": "1",
    "apply_deleted_mask": "1",
    "apply_patch_parts": "1",
    "apply_mutations_on_fly": "0",
    "use_query_cache": "0",
    "extremes": "0",
}
# They give the same SQL another meaning.
MEANING = {
    "dialect": "clickhouse",
    "prefer_column_name_to_alias": "0",
    "enable_positional_arguments": "1",
    "join_default_strictness": "ALL",
    "join_use_nulls": "0",
    "join_any_take_last_row": "0",
    "any_join_distinct_right_table_keys": "0",
    "transform_null_in": "0",
    "group_by_use_nulls": "0",
    "aggregate_functions_null_for_empty": "0",
    "empty_result_for_aggregation_by_empty_set": "0",
    "empty_result_for_aggregation_by_constant_keys_on_empty_set": "1",
    "count_distinct_implementation": "uniqExact",
    "union_default_mode": "",
    "except_default_mode": "ALL",
    "intersect_default_mode": "ALL",
    "data_type_default_nullable": "0",
    "cast_keep_nullable": "0",
    "decimal_check_overflow": "1",
    "date_time_overflow_behavior": "throw",
    # Without a session's zone, times have that of the column or the server. raypipe names its zones.
    "session_timezone": "",
}
# They skip or delay what a statement says, or report success before it is done. A lock is a CREATE that must fail for
# the second caller.
WRITES = {
    "create_if_not_exists": "0",
    "ignore_drop_queries_probability": "0",
    "allow_replace_partition_from_empty_source": "0",
    "async_insert": "0",
    "wait_for_async_insert": "1",
    "lightweight_deletes_sync": "2",
    "lightweight_delete_mode": "alter_update",
    "mutations_sync": "2",
    "alter_sync": "1",
    "implicit_transaction": "0",
    "materialized_views_ignore_errors": "0",
    "ignore_materialized_views_with_dropped_target_table": "0",
    "replace_running_query": "0",
}
# They read or write some of the shards or replicas.
SHARDS = {
    "skip_unavailable_shards": "0",
    "max_skip_unavailable_shards_num": "0",
    "max_skip_unavailable_shards_ratio": "0",
    "distributed_group_by_no_merge": "0",
    "insert_shard_id": "0",
    # An insert through a Distributed table has to arrive before it is answered.
    "distributed_foreground_insert": "1",
    # Rows that are copied between Distributed tables go to the shard of their key.
    "parallel_distributed_insert_select": "0",
    # A subquery means all shards' rows, wherever it runs.
    "distributed_product_mode": "global",
    "enable_parallel_replicas": "0",
    "parallel_replicas_custom_key": "",
}
PINS = {**OVERFLOW, **FEWER_ROWS, **OTHER_ROWS, **MEANING, **WRITES, **SHARDS}

# Newer servers rewrite each query with these, and take no empty value for them.
UNPINNABLE = ("filter", "select", "sort", "order", "page")

# Every supported server knows these. Without them, the list of the server's settings may be cut itself.
_OF_THE_LIST = ("limit", "offset", "additional_table_filters", "additional_result_filter", *OVERFLOW)
# In one row, so that no limit on rows refuses the list.
_LIST = "SELECT groupArray((name, value, readonly, changed)) FROM system.settings WHERE name IN {names:Array(String)}"


class Setting(NamedTuple):
    """A setting as the server lists it for the connected user."""

    value: str
    readonly: int
    changed: int = 0


def pin(driver: Driver, where: str, given: Collection[str]) -> None:
    """Make a driver send the pins with each statement.

    Args:
        driver: has just connected.
        where: the address, for errors.
        given: the settings that the client sends with a value of its own.

    Raises:
        ConfigError: the user's profile fixes a setting to another value, or sets one that cannot be pinned.
    """
    first = {name: Setting(known.value, known.readonly) for name, known in driver.server_settings.items()}
    free = _changeable(_OF_THE_LIST, first, where)
    known = _known(driver, {name: PINS[name] for name in free})
    if not known.keys() >= set(_OF_THE_LIST):
        raise unlisted(where, f"{len(known)} of the settings that every server has")
    for name in UNPINNABLE:
        if name in known and known[name].changed:
            raise _refused(where, name, known[name].value, "no value")
    for name in _changeable([name for name in PINS if name in known], known, where):
        if name not in given:
            driver.set_client_setting(name, PINS[name])


def unlisted(where: str, answer: str) -> ConfigError:
    """Return the error for a user whose profile changes the first answers of the server."""
    return ConfigError(
        f"ClickHouse at {where} does not answer the first questions about its version and settings",
        found=answer,
        allowed=f"a user whose profile does not set {', '.join(UNPINNABLE)}, limit, offset, additional_result_filter,"
        " additional_table_filters, discard_query_data or run_query_in_background",
        next_step="give the user a profile without them; SHOW CREATE SETTINGS PROFILE shows a profile",
    )


def _known(driver: Driver, settings: Mapping[str, str]) -> dict[str, Setting]:
    names = [*PINS, *UNPINNABLE]
    ((rows,),) = driver.query(_LIST, parameters={"names": names}, settings=dict(settings)).result_rows
    return {name: Setting(*row) for name, *row in rows}


def _changeable(names: Collection[str], known: Mapping[str, Setting], where: str) -> list[str]:
    """Return the names that the user may set; the others must have the pinned value already."""
    fixed = {name: known[name].value for name in names if name in known and known[name].readonly}
    for name, value in fixed.items():
        if value != PINS[name]:
            raise _refused(where, name, value, PINS[name] or "no value")
    return [name for name in names if name not in fixed]


def _refused(where: str, name: str, value: str, allowed: str) -> ConfigError:
    return ConfigError(
        f"The profile of the user at {where} changes what statements do, and raypipe may not change it back",
        found=f"{name} = {value}",
        allowed=f"{name} = {allowed}",
        next_step=f"give the user a profile without {name}, or without the constraint on it; the profile is in"
        " users.xml, or SHOW CREATE SETTINGS PROFILE shows it",
    )
