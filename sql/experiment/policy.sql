-- grain: (context, action), a policy out of a table
-- placeholders: context (an expression), table
SELECT {context} AS context, toString(action) AS arm, sum(toFloat64(share)) AS share
FROM {table}
GROUP BY context, arm
