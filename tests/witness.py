"""The witnesses against which values and hand-written gradients are held: autograd, mpmath."""

import torch

from opnet.walk import dict_of, leaf_ops


def replayed(op, inputs, call="__call__"):
    """`op(inputs)` with the same draws at each call, whatever has been drawn before."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return getattr(op, call)(inputs)


def autograd_of(op, inputs, upstream):
    """(outputs, dL/d inputs, [dL/d params]) for L = sum(outputs * upstream), by autograd."""
    inputs = inputs.detach().clone().requires_grad_()
    params = [p for layer in leaf_ops(op) for p in dict_of(layer, "params").values()]
    for param in params:
        param.requires_grad_()
    try:
        outputs = replayed(op, inputs, "forward")
        grads = torch.autograd.grad((outputs * upstream).sum(), [inputs, *params])
    finally:
        for param in params:
            param.requires_grad_(False)
    return outputs.detach(), grads[0], list(grads[1:])


def grads_of(op):
    return [g for layer in leaf_ops(op) for g in dict_of(layer, "grads").values()]


def close(a, b, tolerance=1e-12):
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)
