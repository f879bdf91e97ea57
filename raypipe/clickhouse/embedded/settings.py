"""Configure the embedded engine where it differs from a ClickHouse server.

ClickHouse merges files of `config.d/` and `users.d/` beside it, if there are any.
"""

from hashlib import sha256
from string import Template

USER = "raypipe"
LOOPBACK = "127.0.0.1"

# Port 0: the kernel picks a free port as the engine begins to listen, so nothing can take it in between.
# keep_alive_timeout: an idle connection that the server closes just as the client writes looks like a failed request.
# http_handlers: queries and /ping, without the pages for browsers.
# max_server_memory_usage_to_ram_ratio: the rest of the machine is for Ray's workers and its object store.
# logger: clients are told of the errors of their queries; `Context` warns of the kernel at each start.
# background_…_pool_size: with the two threads of clickhouse-local, tables wait for one another.
CONFIG = f"""<clickhouse>
  <listen_host>{LOOPBACK}</listen_host>
  <http_port>0</http_port>
  <users_config>users.xml</users_config>
  <keep_alive_timeout>3600</keep_alive_timeout>
  <http_handlers>
    <rule><url>/</url><handler><type>dynamic_query_handler</type><query_param_name>query</query_param_name></handler></rule>
    <rule><url>/ping</url><handler><type>ping</type></handler></rule>
  </http_handlers>
  <max_server_memory_usage_to_ram_ratio>0.5</max_server_memory_usage_to_ram_ratio>
  <cache_size_to_ram_max_ratio>0.1</cache_size_to_ram_max_ratio>
  <background_schedule_pool_size>16</background_schedule_pool_size>
  <background_streaming_schedule_pool_size>16</background_streaming_schedule_pool_size>
  <send_crash_reports><enabled>false</enabled></send_crash_reports>
  <logger>
    <console>1</console>
    <level>warning</level>
    <console_log_level>warning</console_log_level>
    <levels>
      <logger><name>Context</name><level>error</level></logger>
      <logger><name>executeQuery</name><level>none</level></logger>
      <logger><name>DynamicQueryHandler</name><level>none</level></logger>
    </levels>
  </logger>
</clickhouse>
"""

# ClickHouse starts the engine's own session as `default`, with an empty password. That session lasts as long as the
# engine, and `max_sessions_for_user` allows no second, so nobody else can come in as `default`.
# implicit_select: off on a ClickHouse server and on in chDB, where a bare expression would count as a query.
# http_max_field_value_size: bound parameters travel in the URL, which may be as long.
_USERS = Template("""<clickhouse>
  <profiles>
    <default>
      <implicit_select>0</implicit_select>
      <http_max_uri_size>1048576</http_max_uri_size>
      <http_max_field_value_size>1048576</http_max_field_value_size>
    </default>
    <engine><max_sessions_for_user>1</max_sessions_for_user></engine>
  </profiles>
  <quotas><default/></quotas>
  <users>
    <default>
      <password/>
      <networks><ip>$loopback</ip></networks>
      <profile>engine</profile>
      <quota>default</quota>
      <grants>
        <query>GRANT SYSTEM LISTEN ON *.*</query>
        <query>GRANT CREATE TEMPORARY TABLE ON *.*</query>
        <query>GRANT KILL QUERY ON *.*</query>
        <query>GRANT SELECT ON system.processes</query>
      </grants>
    </default>
    <$user>
      <password_sha256_hex>$digest</password_sha256_hex>
      <networks><ip>$loopback</ip></networks>
      <profile>default</profile>
      <quota>default</quota>
      <access_management>1</access_management>
      <named_collection_control>1</named_collection_control>
    </$user>
  </users>
</clickhouse>
""")


def users(password: str) -> str:
    """Return the text of users.xml, with the password's digest."""
    digest = sha256(password.encode()).hexdigest()
    return _USERS.substitute(user=USER, loopback=LOOPBACK, digest=digest)
