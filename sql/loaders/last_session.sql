-- grain: one row, the day of the newest session; NULL without sessions
-- parameters: timezone String (of the day)
SELECT if(count() = 0, NULL, toDate(max(session_start), {timezone:String})) FROM customer_sessions
