-- grain: one row, the first and the last day (in the zone) with rows; NULL in an empty table
-- parameters: timezone String (of the days)
-- placeholders: events (the table), moment (its column)
SELECT if(count() = 0, NULL, toDate(min({moment}), {timezone:String})), if(count() = 0, NULL, toDate(max({moment}), {timezone:String})) FROM {events}
