-- grain: none of its own; the day on which an account's subscription ended, 1970-01-01 where it did not, `FROM user_accounts`
-- parameters: timezone String (of the day)
-- why: one that is not active any more and names no end had ended by the last change of its row
multiIf(
    subscription_end_date > toDate(0), subscription_end_date,
    subscription_status NOT IN ('active', ''), toDate(updated_at, {timezone:String}),
    toDate(0)
)
