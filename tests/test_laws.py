"""The laws that every op obeys, over the table in cases.py and over every shape of batch."""

import copy
import pickle

import pytest
import torch
from cases import CASES, LOSS_CASES, model_of
from hypothesis import given, settings
from hypothesis import strategies as st
from witness import autograd_of, close, grads_of, replayed

import opnet
from opnet.walk import every_op, last_op

every_loss = pytest.mark.parametrize("case", LOSS_CASES, ids=[case.name for case in LOSS_CASES])
every_case = pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
batch_axes = st.lists(st.integers(1, 3), max_size=3).map(tuple)


def drawn(case, batch=()):
    op, inputs = case.make(), torch.randn(*batch, *case.shape, dtype=torch.float64)
    outputs = replayed(op, inputs)
    return op, inputs, outputs, torch.randn_like(outputs)


@every_case
@given(batch=batch_axes)
@settings(max_examples=10, deadline=None)
def test_gradients_are_autograds(case, batch):
    op, inputs, outputs, upstream = drawn(case, batch)
    witness_outputs, witness_inputs, witness_params = autograd_of(op, inputs, upstream)
    replayed(op, inputs)
    close(outputs, witness_outputs)
    close(op.backward(upstream), witness_inputs)
    close(grads_of(op), witness_params)


@every_case
def test_batch_axes_are_more_rows(case):
    op, inputs, outputs, upstream = drawn(case, (2, 3))
    dx = op.backward(upstream)
    grads = [g.clone() for g in grads_of(op)]
    close(replayed(op, inputs.flatten(0, -2)), outputs.flatten(0, -2))
    close(op.backward(upstream.flatten(0, -2)), dx.flatten(0, -2))
    close(grads_of(op), grads)


@every_case
def test_backward_twice_and_its_halves_in_any_order_give_the_same_bits(case):
    op, _, _, upstream = drawn(case)
    dx = op.backward(upstream)
    grads = [g.clone() for g in grads_of(op)]
    for _ in range(2):
        for g in grads_of(op):
            g.fill_(7.0)  # overwritten by one half, left alone by the other
        assert torch.equal(op.backward_inputs(upstream), dx)
        assert all((g == 7).all() for g in grads_of(op))
        op.backward_params(upstream)
        assert all(map(torch.equal, grads_of(op), grads))


@every_case
def test_nothing_passed_in_is_written_to(case):
    op, inputs, _, upstream = drawn(case)
    before = inputs.clone(), upstream.clone()
    op(inputs)
    op.backward(upstream)
    assert torch.equal(inputs, before[0])
    assert torch.equal(upstream, before[1])


@every_case
def test_grads_are_like_their_params_and_keep_their_address(case):
    op, _, _, upstream = drawn(case)
    addresses = [g.data_ptr() for g in grads_of(op)]
    op.backward(upstream)
    assert [g.data_ptr() for g in grads_of(op)] == addresses
    for leaf in every_op(op):
        assert leaf.params.keys() == leaf.grads.keys()
        for key, param in leaf.params.items():
            grad = leaf.grads[key]
            assert (grad.shape, grad.dtype, grad.device) == (param.shape, param.dtype, param.device)


@every_case
def test_no_graph_is_ever_built(case):
    op, inputs, _, upstream = drawn(case)
    for leaf in every_op(op):
        for param in leaf.params.values():
            param.requires_grad_()
    assert not op(inputs.requires_grad_()).requires_grad
    upstream.requires_grad_()
    assert not op.backward(upstream).requires_grad
    assert not op.backward_inputs(upstream).requires_grad
    op.backward_params(upstream)
    assert not any(g.requires_grad for g in grads_of(op))


@every_case
def test_backward_before_forward_names_the_op(case):
    op = case.make()
    last = type(last_op(op)).__name__
    with pytest.raises(RuntimeError, match=f"^{last}.*: backward before forward"):
        op.backward(torch.randn(2, 1, dtype=torch.float64))


@every_case
@pytest.mark.parametrize("rule", ["backward", "backward_params", "backward_inputs"])
def test_an_upstream_gradient_that_would_broadcast_is_refused(case, rule):
    op, _, outputs, upstream = drawn(case)
    wrong = [upstream[:1, :].expand(len(upstream) + 1, -1), upstream[None], upstream.float()]
    for grads in wrong:
        with pytest.raises(ValueError, match="upstream gradient is") as error:
            getattr(op, rule)(grads)
        assert str(list(outputs.shape)) in str(error.value)


@every_case
def test_a_rebound_param_is_read_at_its_next_use(case):
    op, inputs, _, upstream = drawn(case)
    for leaf in every_op(op):
        for key, param in leaf.params.items():
            leaf.params[key] = (param + 1).detach()
    witness = autograd_of(op, inputs, upstream)
    close(replayed(op, inputs), witness[0])
    close(op.backward(upstream), witness[1])
    close(grads_of(op), witness[2])


@every_case
def test_to_keeps_the_dicts_and_forgets_what_was_remembered(case):
    op, inputs, _, upstream = drawn(case)
    dicts = [(leaf.params, leaf.grads) for leaf in every_op(op)]
    assert op.to(torch.float32) is op
    assert all(
        a is leaf.params and b is leaf.grads
        for (a, b), leaf in zip(dicts, every_op(op), strict=True)
    )
    with pytest.raises(RuntimeError, match="before forward"):
        op.backward(upstream.float())
    outputs = op(inputs.float())
    assert outputs.dtype == torch.float32
    op.backward(upstream.float())
    assert all(g.dtype == torch.float32 for g in grads_of(op))


@every_case
def test_copies_are_ops_of_their_own(case):
    op, inputs, outputs, _ = drawn(case)
    for twin in (copy.deepcopy(op), pickle.loads(pickle.dumps(op))):
        assert torch.equal(replayed(twin, inputs), outputs)
        for leaf, other in zip(every_op(op), every_op(twin), strict=True):
            assert all(leaf.params[k].data_ptr() != other.params[k].data_ptr() for k in leaf.params)


@every_case
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_less_precision_costs_digits_and_nothing_else(case, dtype):
    op, inputs, _, upstream = drawn(case)
    op.to(dtype)
    small = replayed(op, inputs.to(dtype))
    grads = [op.backward(upstream.to(dtype)), *(g.clone() for g in grads_of(op))]
    op.to(torch.float64)  # the very numbers that the smaller dtype holds
    wide = replayed(op, inputs.to(dtype).double())
    wanted = [op.backward(upstream.to(dtype).double()), *grads_of(op)]
    for came, right in zip([small, *grads], [wide, *wanted], strict=True):
        assert came.dtype == dtype
        allowed = 32 * torch.finfo(dtype).eps * right.abs().max().clamp(min=1)
        assert ((came.double() - right).abs() <= allowed).all()


@every_loss
@given(rows=st.integers(1, 9))
@settings(max_examples=10, deadline=None)
def test_a_loss_sends_back_what_autograd_does(case, rows):
    model = model_of(case)
    loss_fn, X = case.make(model), torch.randn(rows, 3, dtype=torch.float64)
    labels = case.labels(model(X))
    loss_fn(model(X), labels)
    hand = [loss_fn.backward(), *(g.clone() for g in grads_of(model))]
    params = [p.requires_grad_() for layer in every_op(model) for p in layer.params.values()]
    X.requires_grad_()
    loss = case.witness(model.forward(X), labels)
    close(loss_fn(model(X), labels), loss.detach())
    close(hand, list(torch.autograd.grad(loss, [X, *params])))


@every_loss
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_loss_passes_the_check(case, dtype):
    model = model_of(case).to(dtype)
    X = torch.randn(5, 3, dtype=dtype)
    report = opnet.check(case.make(model), (X, case.labels(model(X))))
    assert report.passed, report
    assert len(report.rows) == 3
