# %% [markdown]
# # An op of your own, and its proof
# Softsign is $y = z / (1 + |z|)$. An op is this rule, and beside it its derivative:
# $dy/dz = 1 / (1 + |z|)^2$.

# %%
import opnet
from opnet import BatchGD, BinaryCrossEntropyLoss, Linear, Logistic, Op, Sequential, accuracy
from opnet import make_moons, split
from runners import RunnerV2_1


class Softsign(Op):
    """y = z / (1 + |z|),  dy/dz = 1 / (1 + |z|)^2."""

    def forward(self, inputs):
        self.inputs = inputs
        return inputs / (1 + inputs.abs())

    def backward_inputs(self, grads):
        return grads / (1 + self.inputs.abs()) ** 2


# %% [markdown]
# Is that right? `opnet.check` compares it with the rule itself, in many situations.

# %%
print(opnet.check(Softsign()))

# %% [markdown]
# A quotient's slope has two terms. Who forgets the second is told so.


# %%
class Forgotten(Softsign):
    def backward_inputs(self, grads):
        return grads / (1 + self.inputs.abs())


print(opnet.check(Forgotten()))

# %% [markdown]
# What has been proven stands in a net like any other op.

# %%
train, dev, test = split(*make_moons(1000, noise=0.2, seed=0), seed=0)
model = Sequential(Linear(2, 5, "fc1"), Softsign(), Linear(5, 1, "fc2"), Logistic())
runner = RunnerV2_1(model, BatchGD(2.0, model), accuracy, BinaryCrossEntropyLoss(model))
runner.train(train, dev, num_epochs=500, log_epochs=0)
print("[Test] score/loss: {:.4f}/{:.4f}".format(*runner.evaluate(test)))
