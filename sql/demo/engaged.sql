-- grain: none of its own; a lambda for a WITH over a reader of demo_truth
-- engaged: the expected engagement score of a session, before noise and drift, from the topic and the quality of the first article. It
--     saturates in loyalty, and interested readers care most about quality. Both arguments may be expectations: the score is linear in them
(is_weekend, pays_and_turns, of_favourite, quality) -> 50 + 10 * tanh(loyalty) + (is_weekend = weekend_reader ? 4 : -4)
    - 12 * pays_and_turns + 3 * of_favourite + quality * (1 + 8 / (1 + exp(-3 * interest))) AS engaged
