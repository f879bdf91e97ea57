-- grain: none of its own; lambdas for a WITH: the n-th random value of a hash k, uniform from 0 to 1 or standard normal (of n and n + 1)
(k, n) -> (intHash64(bitXor(k, n * 0x9E3779B97F4A7C15)) + 0.5) / 18446744073709551616. AS uniform,
(k, n) -> sqrt(-2 * log(uniform(k, n))) * cos(6.283185307179586 * uniform(k, n + 1)) AS normal
