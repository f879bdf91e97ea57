-- grain: one row, the day of the newest session; NULL when there is none
-- parameters: timezone String (in which the day is cut)
SELECT if(count() = 0, NULL, toDate(max(session_start), {timezone:String})) FROM customer_sessions
