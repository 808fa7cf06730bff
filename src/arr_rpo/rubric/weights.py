"""What criteria are worth: weights from how people chose, by l1-regularised logistic regression."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit


@dataclass(frozen=True)
class Fit:
    """weights: (K,) of the criteria, 0 or more, in log-odds: of two pictures of which one alone meets the criterion, that one
    is preferred with the odds exp(weight). penalty: the one that was chosen. loss, accuracy: cross-validated, in nats a pair
    and as a share of the pairs (an even one counts half), at that penalty.
    """

    weights: np.ndarray
    penalty: float
    loss: float
    accuracy: float


def weigh(differences_NK: np.ndarray, penalty_K: float | np.ndarray) -> np.ndarray:
    """(K,) the weights w >= 0 that minimise mean log(1 + exp(-d w)) + sum(penalty * w) over the rows d.

    l1-regularised logistic regression on differences, without an intercept (arXiv 2605.17602). Unlike there no weight is
    negative: what people dislike is a criterion only when it is put the other way round.

    differences_NK: P(yes) of each criterion on the preferred picture minus that on the other one, -1 to 1.
    """

    def objective(w: np.ndarray) -> tuple[float, np.ndarray]:
        margins = differences_NK @ w
        loss = np.logaddexp(0, -margins).mean() + (penalty_K * w).sum()
        gradient = -(expit(-margins)[:, None] * differences_NK).mean(0) + penalty_K
        return float(loss), gradient

    count = differences_NK.shape[1]
    found = minimize(objective, np.zeros(count), jac=True, method="L-BFGS-B", bounds=[(0, None)] * count, tol=1e-12)
    return np.asarray(found.x)


def cross_validated(
    differences_NK: np.ndarray,
    groups: Sequence[str],
    penalties: Sequence[float],
    folds: int,
    factors_K: float | np.ndarray = 1.0,
) -> Fit:
    """The weights at the penalty that predicts best what is left out; of equal ones at the greatest.

    factors_K: of the penalty, for each criterion: one that is believed before any pair is seen has less than 1.
    groups: of each row; rows of one (pairs of one prompt) are left out together. With a single group nothing can be left out:
    the greatest penalty, and no better than a coin.
    """
    names = list(dict.fromkeys(groups))
    fold_of = {name: i % min(folds, len(names)) for i, name in enumerate(names)}
    fold_N = np.array([fold_of[name] for name in groups])
    tried = []
    for penalty in sorted(penalties, reverse=True):
        margins = np.zeros(len(groups))
        for fold in range(min(folds, len(names)) if len(names) > 1 else 0):
            out = fold_N == fold
            margins[out] = differences_NK[out] @ weigh(differences_NK[~out], penalty * factors_K)
        accuracy = float((np.sign(margins) / 2 + 0.5).mean())
        tried.append((round(float(np.logaddexp(0, -margins).mean()), 9), -penalty, accuracy))
    loss, negative, accuracy = min(tried)
    return Fit(weigh(differences_NK, -negative * factors_K), -negative, loss, accuracy)
