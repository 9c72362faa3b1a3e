"""Callbacks that watch a run, and what a runner holds."""

from opnet.walk import state

HISTORIES = ("train_scores", "train_loss", "dev_scores", "dev_loss")


def weights(runner):
    return [tensor.clone() for tensor in state(runner.model)]


def histories(runner):
    return [getattr(runner, name) for name in HISTORIES]


class Recorder:
    """Keeps the weights of every epoch."""

    def __init__(self):
        self.calls, self.weights = [], []

    def on_train_begin(self, runner):
        self.calls.append("begin")

    def on_epoch_end(self, runner, epoch):
        assert len(runner.dev_loss) == epoch + 1
        self.calls.append(epoch)
        self.weights.append(weights(runner))

    def on_train_end(self, runner):
        self.calls.append("end")


class StopAt:
    def __init__(self, epoch, error=None):
        self.epoch, self.error = epoch, error

    def on_epoch_end(self, runner, epoch):
        if epoch == self.epoch:
            if self.error:
                raise self.error
            runner.stop = True
