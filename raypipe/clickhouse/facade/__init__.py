"""ClickHouse's HTTP protocol over chDB, for the embedded engine.

    folder     what stands in the engine's folder: data, state, password and locks
    engine     chDB as sessions            lexer      where a statement ends and its data begins
    protocol   an HTTP request, answered   perform    its statement, in one thread
    request, body, form, codings, sessions, pipe, answers, failure: the parts of both

What differs from a server: there is one user (`default`); no system.query_log and no other log tables; a query's id
is only echoed, so KILL QUERY does not find it; no progress headers while a query runs; no compressed blocks
(`decompress=1`) and no roles; one process and one folder, no replication. It takes at most half of the machine's
memory (a server: nine tenths), since Ray shares it.
"""
