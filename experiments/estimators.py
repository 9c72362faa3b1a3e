"""OpNetClassifier beside scikit-learn's classifiers: ten splits of two moons, defaults all round.

For each seed 600 rows of two moons, noise 0.2, half to fit and half to score. Printed are the mean
accuracy, its standard deviation over the splits, and the time of a fit.
"""

import argparse
import time
import warnings
from statistics import fmean, median, stdev
from typing import Any

from experiments import cli, flags
from experiments.rows import Outcome

SPLITS, ROWS, NOISE = 10, 600, 0.2


def arguments() -> argparse.ArgumentParser:
    return flags.parser("estimators", __doc__, fast={"SPLITS": 2, "ROWS": 60})


def main(settings: argparse.Namespace) -> Outcome:
    cli.print_settings(settings)
    scores: dict[str, list[float]] = {}
    seconds: dict[str, list[float]] = {}
    for seed in cli.progress(range(settings.seed, settings.seed + SPLITS), settings, "splits"):
        for name, (score, took) in one_split(seed, settings.device).items():
            scores.setdefault(name, []).append(score)
            seconds.setdefault(name, []).append(took)
    print(f"\n{'estimator':<34} {'accuracy':>8} {'sd':>7} {'fit':>9}")
    for name, found in scores.items():
        milliseconds = f"{1000 * median(seconds[name]):.0f} ms"
        print(f"{name:<34} {fmean(found):>8.4f} {stdev(found):>7.4f} {milliseconds:>9}")
    return Outcome()


def one_split(seed: int, device: str) -> dict[str, tuple[float, float]]:
    """Test accuracy and seconds of a fit, of each estimator by name."""
    from sklearn.datasets import make_moons
    from sklearn.model_selection import train_test_split

    X, y = make_moons(ROWS, noise=NOISE, random_state=seed)
    X, X_test, y, y_test = train_test_split(X, y, test_size=0.5, random_state=seed)
    found = {}
    for name, estimator in contest(seed, device).items():
        began = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # MLPClassifier() says that it is not done yet
            estimator.fit(X, y)
        took = time.perf_counter() - began
        found[name] = float(estimator.score(X_test, y_test)), took
    return found


def contest(seed: int, device: str) -> dict[str, Any]:
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier

    from runners import OpNetClassifier

    lbfgs: dict[str, Any] = {"solver": "lbfgs", "max_iter": 2000}
    return {
        "LogisticRegression()": LogisticRegression(),
        "MLPClassifier(solver='lbfgs')": MLPClassifier(random_state=seed, **lbfgs),
        "MLPClassifier()": MLPClassifier(random_state=seed),
        "OpNetClassifier()": OpNetClassifier(random_state=seed, device=device),
    }


if __name__ == "__main__":
    cli.run(arguments(), main)
