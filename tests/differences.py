"""A witness that knows no derivative: central differences in float64 on an op's own forward."""

import itertools

import torch
from torch import Tensor

from opnet.walk import dict_of, every_op, named_ops

H = 1e-4


def widened(op):
    """The op itself, with every floating tensor that it holds in float64."""
    seen = {}

    def wide(value):
        if isinstance(value, Tensor):
            if value.is_floating_point() and id(value) not in seen:
                tracked = value.requires_grad
                seen[id(value)] = value, value.detach().double().requires_grad_(tracked)
            return seen[id(value)][1] if value.is_floating_point() else value
        if isinstance(value, dict):
            for key in value:
                value[key] = wide(value[key])
        elif isinstance(value, list):
            value[:] = map(wide, value)
        return value

    for part in every_op(op):
        for key, value in list(getattr(part, "__dict__", {}).items()):
            setattr(part, key, wide(value))
    return op


def params_of(op):
    """{"W": tensor} of a single op, {"fc1.W": tensor} of a model."""
    return _of(op, "params")


def grads_of(op):
    return _of(op, "grads")


def _of(op, kind):
    ops = named_ops(op) if hasattr(op, "layers") else {"": op}
    return {
        f"{name}.{key}".lstrip("."): tensor
        for name, layer in ops.items()
        for key, tensor in dict_of(layer, kind).items()
    }


def moved(op):
    """The op with every param away from where it started, in place."""
    for param in params_of(op).values():
        param.detach().add_(torch.rand_like(param) + 0.1)
    return op


def rebound(op):
    """The same by rebinding, as the book's optimizer does."""
    for layer in every_op(op):
        params = dict_of(layer, "params")
        for key, param in params.items():
            params[key] = (param + torch.rand_like(param) + 0.1).detach()
    return op


def forward(op, inputs):
    """The op's forward, in which everything random repeats."""
    torch.manual_seed(0)
    for layer in every_op(op):
        if isinstance(generator := getattr(layer, "generator", None), torch.Generator):
            generator.manual_seed(0)
    with torch.no_grad():
        return op.forward(inputs)


def by_hand(op, inputs, upstream):
    """{"inputs": dL/dx, "W": dL/dW, ...} for L = sum(outputs * upstream), by the op's backward."""
    forward(op, inputs)
    with torch.no_grad():
        dx = op.backward(upstream)
    return {"inputs": dx} | {key: grad.detach() for key, grad in grads_of(op).items()}


def by_differences(op, inputs, upstream):
    """The same by central differences at h and h / 2, extrapolated to h = 0."""
    inputs = inputs.clone()
    tensors = {"inputs": inputs} | params_of(op)
    return {
        key: (4 * slopes(op, inputs, upstream, tensor, H / 2, -H / 2) / 3)
        - slopes(op, inputs, upstream, tensor, H, -H) / 3
        for key, tensor in tensors.items()
    }


def slopes(op, inputs, upstream, tensor, up, down):
    """(L(e + up) - L(e + down)) / (up - down) for each element e of `tensor`, moved in place.

    Outputs are subtracted before they are summed: what does not change cancels to nothing.
    """
    tensor = tensor.detach()
    found = torch.empty_like(tensor)
    for index in itertools.product(*map(range, tensor.shape)):
        here = tensor[index].clone()
        tensor[index] = here + up
        above = forward(op, inputs.clone())
        tensor[index] = here + down
        found[index] = ((above - forward(op, inputs.clone())) * upstream).sum() / (up - down)
        tensor[index] = here
    return found
