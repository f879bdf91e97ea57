-- grain: one row, a tuple with the distinct devices, systems, browsers, countries, cities and categories of the sessions up to the end of a
--     day: '' first, then in order
-- parameters: date Date (the day), timezone String (of the days)
-- why: counting uses the places in these lists instead of long ids: less time, and a tenth of the memory
SELECT (
    arrayDistinct(arrayConcat([''], arraySort(groupUniqArray(device_type_id)))),
    arrayDistinct(arrayConcat([''], arraySort(groupUniqArray(os_id)))),
    arrayDistinct(arrayConcat([''], arraySort(groupUniqArray(browser_id)))),
    arrayDistinct(arrayConcat([''], arraySort(groupUniqArray(country_code)))),
    arrayDistinct(arrayConcat([''], arraySort(groupUniqArray(city_id)))),
    arrayDistinct(arrayConcat([''], arraySort(groupUniqArrayArray(JSONExtract(categories_visited, 'Array(String)')))))
) AS words
FROM customer_sessions
WHERE session_start < toDateTime({date:Date} + 1, {timezone:String})
