"""What a learner writes in the book's style: no base class, no super().__init__(), new grads."""

import torch

from opnet import Op, Optimizer


class PlainLinear:
    """No base class; a bias gradient of shape [O]; `grads` bound anew at each backward."""

    def __init__(self, input_size, output_size, name):
        self.params = {"W": torch.randn(input_size, output_size), "b": torch.zeros(1, output_size)}
        self.name = name
        self.inputs = None

    def __call__(self, inputs):
        return self.forward(inputs)

    def forward(self, inputs):
        self.inputs = inputs
        return torch.matmul(inputs, self.params["W"]) + self.params["b"]

    def backward(self, grads):
        self.grads = {"W": torch.matmul(self.inputs.T, grads), "b": torch.sum(grads, dim=0)}
        return torch.matmul(grads, self.params["W"].T)


class BookLogistic(Op):
    """A subclass without super().__init__(), with params None."""

    def __init__(self):
        self.inputs = None
        self.outputs = None
        self.params = None

    def forward(self, inputs):
        self.outputs = 1.0 / (1.0 + torch.exp(-inputs))
        return self.outputs

    def backward(self, grads):
        return grads * self.outputs * (1.0 - self.outputs)


class NamelessTanh(Op):
    """Neither params nor grads nor name, only a whole backward."""

    def __init__(self):
        pass

    def forward(self, inputs):
        self.kept = torch.tanh(inputs)
        return self.kept

    def backward(self, grads):
        return grads * (1 - self.kept**2)


class EmptyParams(BookLogistic):
    def __init__(self):
        self.params = {}


class BookModel(Op):
    """A whole model: its own layers, forward and backward."""

    def __init__(self, input_size, hidden_size, output_size):
        self.fc1 = PlainLinear(input_size, hidden_size, name="fc1")
        self.act_fn1 = NamelessTanh()
        self.fc2 = PlainLinear(hidden_size, output_size, name="fc2")
        self.act_fn2 = BookLogistic()
        self.layers = [self.fc1, self.act_fn1, self.fc2, self.act_fn2]

    def __call__(self, X):
        return self.forward(X)

    def forward(self, X):
        a1 = self.act_fn1(self.fc1(X))
        return self.act_fn2(self.fc2(a1))

    def backward(self, loss_grad_a2):
        loss_grad_a1 = self.fc2.backward(self.act_fn2.backward(loss_grad_a2))
        return self.fc1.backward(self.act_fn1.backward(loss_grad_a1))


class BookLoss(Op):
    """Returns a tensor of shape [1]."""

    def __init__(self, model):
        self.model = model

    def __call__(self, predicts, labels):
        return self.forward(predicts, labels)

    def forward(self, predicts, labels):
        self.predicts, self.labels, self.num = predicts, labels, predicts.shape[0]
        terms = labels.t() @ torch.log(predicts) + (1 - labels.t()) @ torch.log(1 - predicts)
        return torch.squeeze(-terms / self.num, dim=1)

    def backward(self):
        p, y = self.predicts, self.labels
        self.model.backward(-(y / p - (1 - y) / (1 - p)) / self.num)


class BookGD(Optimizer):
    """Rebinds params."""

    def __init__(self, init_lr, model):
        super().__init__(init_lr=init_lr, model=model)

    def step(self):
        for layer in self.model.layers:
            if isinstance(layer.params, dict):
                for key in layer.params:
                    layer.params[key] = layer.params[key] - self.init_lr * layer.grads[key]


def book_accuracy(predicts, labels):
    """A float, not a tensor."""
    return ((predicts >= 0.5).float() == labels).float().mean().item()
