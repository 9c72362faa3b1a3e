# %% [markdown]
# # A first model
# Two half moons of points, one blue, one red: a net with five hidden units learns where the border
# between them lies. Every gradient on the way is a formula that stands in `opnet`, beside its rule.

# %%
import torch

from opnet import BatchGD, BinaryCrossEntropyLoss, Model_MLP_L2, accuracy, load
from opnet import make_moons, plots, split
from runners import RunnerV2_1

train, dev, test = split(*make_moons(1000, noise=0.2, seed=0), seed=0)
model = Model_MLP_L2(2, 5, 1, generator=torch.Generator().manual_seed(0))
model.summary()

# %% [markdown]
# The runner takes what a training is made of: a model, an optimizer for it, a score, a loss. It
# looks at `dev` after every epoch and keeps the weights that were best there.

# %%
runner = RunnerV2_1(model, BatchGD(8.0, model), accuracy, BinaryCrossEntropyLoss(model))
runner.train(train, dev, num_epochs=1000, log_epochs=200, save_dir="checkpoints/runs/first")
print("[Test] score/loss: {:.4f}/{:.4f}".format(*runner.evaluate(test)))

# %%
plots.curves(runner)

# %%
sets = {"train": train, "dev": dev, "test": test}
plots.DecisionBoundary.from_runner(runner, sets).figure_

# %% [markdown]
# The weights are on the disk too, with a manifest that says whose they are.

# %%
again = load("checkpoints/runs/first")
assert torch.equal(again(test[0]), runner.predict(test[0]))
