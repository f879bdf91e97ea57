"""Correct the challenges of a champion for being repeated.

A champion may meet a new version every night. Each comparison that errs in 2.5 % of the cases would make a version that
is no better champion sooner or later. So the k-th challenge of a champion may only err with the probability

    ALPHA · max(1 / (k (k + 1)), FLOOR)

The first terms sum to ALPHA over any number of challenges, whatever the dependence between them: a spending function
(Lan & DeMets 1983, "Discrete sequential boundaries for clinical trials") with weighted Bonferroni levels (Rosenthal &
Rubin 1983, "Ensemble-adjusted p values"). FLOOR keeps a champion of many months from becoming irreplaceable, the "alpha
death" of Ramdas et al. 2017 ("Online control of the false discovery rate with decaying memory"). It adds
ALPHA · FLOOR for each challenge from the fourteenth on. 90 challenges err with a probability of at most 3.3 %.
"""

ALPHA = 0.025
FLOOR = 1 / 200


def error_of(challenge: int) -> float:
    """Return the one-sided error of a champion's challenge, which counts from 1."""
    return ALPHA * max(1 / (challenge * (challenge + 1)), FLOOR)
