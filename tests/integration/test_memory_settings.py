"""Batch sizes are settings of memory: the same pictures and verdicts, and weights equal up to the order of float sums."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from arr_rpo.run.layout import Rows
from tests.integration.small import start, training_state, without_time

pytestmark = pytest.mark.slow
OPTIONS = ["judge=oracle", "data.updates=3", "data.candidates_per_update=64", "callbacks.image_grid=null"]
ALGORITHMS = {
    "rpo": ["algorithm.steps_per_update=null"],
    "diffusion_nft": ["algorithm=diffusion_nft", "algorithm.group_size=2", "sampler=ode", "algorithm.steps_per_update=null"],
}
# Of the weights that three updates moved, the largest difference, and of all the mean one, both in steps of the learning rate.
# Adam divides a gradient by its size, so that where it is all but zero the order of a sum decides its direction.
LARGEST, MEAN = 2.0, 1e-3  # measured: 0.28 and 9e-6


@pytest.mark.parametrize("algorithm", list(ALGORITHMS))
def test_three_updates_do_not_depend_on_batch_sizes(algorithm: str, tmp_path: Path) -> None:
    sizes = (("policy.batch_size", 4, 64), ("algorithm.microbatch_size", 8, 64), ("callbacks.heldout.batch_size", 16, 128))
    runs = [
        start(tmp_path / str(which), *OPTIONS, *ALGORITHMS[algorithm], *(f"{name}={pair[which]}" for name, *pair in sizes))
        for which in (0, 1)
    ]
    rows = [[without_time(row) for row in run.rows(Rows.VERDICTS)] for run in runs]
    assert rows[0] == rows[1]
    for path in sorted((runs[0].path / "verdict_pictures").glob("*.png")):
        a, b = (np.asarray(Image.open(run.path / "verdict_pictures" / path.name), dtype=int) for run in runs)
        assert np.abs(a - b).max() <= 1, path  # a grey value
    weights = [training_state(run)["state_dict"] for run in runs]
    apart = np.concatenate([np.ravel((weights[0][name] - weights[1][name]).abs().numpy()) for name in weights[0]]) / 3e-4
    print(f"{algorithm}: largest {apart.max():.2e}, mean {apart.mean():.2e} steps of the learning rate")
    assert apart.max() <= LARGEST
    assert apart.mean() <= MEAN
