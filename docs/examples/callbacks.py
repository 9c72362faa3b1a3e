# %% [markdown]
# # Between the epochs
# Callbacks are objects with some of `on_train_begin`, `on_epoch_end`, `on_train_end`. Three come
# with opnet: one stops in time, one keeps the weights of many epochs, one writes for TensorBoard.

# %%
import torch

from opnet import Adam, BinaryCrossEntropyLoss, Model_MLP_L2, accuracy, make_moons, plots, split
from runners import EarlyStopping, RunnerV2_1, Snapshots, TensorBoard

train, dev, test = split(*make_moons(1000, noise=0.3, seed=0), seed=0)
model = Model_MLP_L2(2, 30, 1, generator=torch.Generator().manual_seed(0))
runner = RunnerV2_1(model, Adam(0.05, model), accuracy, BinaryCrossEntropyLoss(model))

# %% [markdown]
# One of your own needs no base class. `called_every` says how often it is called, `recordable` that
# it exchanges no op: between two calls the epochs run as if it were not there.


# %%
class LargestWeight:
    called_every, recordable = 50, True

    def on_train_begin(self, runner):
        self.found = {}

    def on_epoch_end(self, runner, epoch):
        self.found[epoch] = float(runner.model.fc1.params["W"].abs().max())


largest, stopping, snapshots = LargestWeight(), EarlyStopping(patience=100), Snapshots(every=50)
board = TensorBoard("checkpoints/runs/board", every=50, sets={"train": train, "dev": dev})
runner.train(
    train,
    dev,
    num_epochs=2000,
    log_epochs=0,
    keep="best_loss",
    callbacks=[largest, stopping, snapshots, board],
)
print(f"stopped after epoch {stopping.stopped_epoch}, kept epoch {runner.kept_epoch}")
print("[Test] score/loss: {:.4f}/{:.4f}".format(*runner.evaluate(test)))

# %% [markdown]
# `tensorboard --logdir checkpoints/runs` shows curves and histograms in a browser. The boundary of
# an early epoch, from the snapshots, and the largest weight until the end:

# %%
plots.DecisionBoundary.from_predict(snapshots.at(49), {"dev": dev}).figure_

# %%
plots.curves({"largest |w|": [*largest.found.values()]})
