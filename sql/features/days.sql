-- grain: one row, the first and the last day (in UTC) with rows; NULL in an empty table
-- placeholders: events (the table), moment (its column)
SELECT if(count() = 0, NULL, toDate(min({moment}), 'UTC')), if(count() = 0, NULL, toDate(max({moment}), 'UTC')) FROM {events}
