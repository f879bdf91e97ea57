-- grain: none of its own; the day on which an account's subscription ended, 1970-01-01 if it did not, `FROM user_accounts`
-- parameters: timezone String (of the day)
-- why: an inactive subscription without an end ended at the latest with the last change of its row
multiIf(
    subscription_end_date > toDate(0), subscription_end_date,
    subscription_status NOT IN ('active', ''), toDate(updated_at, {timezone:String}),
    toDate(0)
)
