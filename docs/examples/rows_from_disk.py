# %% [markdown]
# # More rows than memory
# Whatever has a length and can be sliced gives rows: here a file, read block by block while the
# block before it is computed. The gradient is still that of all rows.

# %%
import numpy as np
import torch

from opnet import BinaryCrossEntropyLoss, Cosine, Model_MLP_L2, Momentum, WarmUp
from opnet import accuracy, from_npy, plots
from runners import RunnerV2_1

draw = np.random.default_rng(0)
rows = np.lib.format.open_memmap("X.npy", mode="w+", dtype=np.float32, shape=(50_000, 20))
for start in range(0, len(rows), 10_000):  # never more than this in memory
    rows[start : start + 10_000] = draw.standard_normal((10_000, 20), dtype=np.float32)
rows.flush()
labels = (rows[:, 0] * rows[:, 1] > 0).astype(np.float32)  # a product: no line tells them apart

# %%
X, y = from_npy("X.npy"), labels[:, None]
train, dev = [X[:40_000], y[:40_000]], [X[40_000:], y[40_000:]]
model = Model_MLP_L2(20, 16, 1, generator=torch.Generator().manual_seed(0))

# %% [markdown]
# The rate climbs for ten epochs and then sinks along a cosine. A schedule is any function from the
# epoch to the rate.

# %%
schedule = WarmUp(Cosine(4.0, 60), 10)
runner = RunnerV2_1(model, Momentum(4.0, model), accuracy, BinaryCrossEntropyLoss(model))
runner.train(train, dev, num_epochs=60, log_epochs=20, schedule=schedule)
print("[Dev] score/loss: {:.4f}/{:.4f}".format(*runner.evaluate(dev)))

# %%
plots.curves({"rate": schedule.simulate(60)})

# %%
plots.curves(runner)
