"""The bank of ops that the check is judged by: the right ones are right, the wrong ones wrong."""

import math
from collections import Counter

import pytest
import torch
from differences import (
    by_differences,
    by_hand,
    forward,
    grads_of,
    moved,
    params_of,
    rebound,
    slopes,
    widened,
)
from mutants import KINDS, MUTANTS
from sound_ops import SOUND

every_sound = pytest.mark.parametrize("sound", SOUND, ids=[sound.name for sound in SOUND])
KINKS = [0.0, -1.0, 1.0, -2.0, 2.0, -3.0, 3.0, 6.0]


def drawn(case, seed=5, rows=None):
    """Inputs in float64 that suit a case: its own, else [5, F]."""
    torch.manual_seed(seed)
    if case.inputs is not None:
        inputs = case.inputs().double()
    else:
        first = next((W for W in params_of(case.make()).values() if W.ndim == 2), torch.empty(3, 1))
        inputs = 2 * torch.randn(5, first.shape[0] if len(first) > 1 else 3).double()
    return inputs if rows is None else inputs[..., :1, :].repeat_interleave(rows, -2)


def upstream_of(op, inputs, seed=2):
    outputs = forward(op, inputs.clone())
    torch.manual_seed(seed)
    return torch.randn_like(outputs)


def made(case, seed=0):
    """The case's op in float64."""
    torch.manual_seed(seed)
    return widened(case.make())


@pytest.fixture(autouse=True)
def _float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def alike(a, b, tolerance=1e-7):
    """Whether two gradients are one: in shape, and in values beside the largest of them."""
    if a is None or b is None or a.shape != b.shape:
        return False
    scale = float(b.abs().max()) or 1.0
    return bool(((a.double() - b).abs() <= tolerance * scale).all())


@every_sound
def test_sound_gradients_are_those_of_differences(sound):
    op, inputs = moved(made(sound)), drawn(sound)
    upstream = upstream_of(op, inputs)
    hand, numeric = by_hand(op, inputs, upstream), by_differences(op, inputs, upstream)
    assert hand.keys() == numeric.keys()
    for key, gradient in numeric.items():
        assert alike(hand[key], gradient), key


@every_sound
def test_sound_slopes_lie_between_the_one_sided_ones(sound):
    op = moved(made(sound))
    for kink in KINKS:
        inputs = torch.full_like(drawn(sound), kink)
        if not all(forward(op, inputs - h).isfinite().all() for h in (0, 1e-6)):
            continue  # log and sqrt end there
        upstream = torch.ones_like(forward(op, inputs))
        hand = by_hand(op, inputs, upstream)["inputs"]
        left, right = (slopes(op, inputs, upstream, inputs, h, 0) for h in (-1e-7, 1e-7))
        slack = 1e-4 * (1 + torch.maximum(left.abs(), right.abs()))
        assert (hand >= torch.minimum(left, right) - slack).all(), kink
        assert (hand <= torch.maximum(left, right) + slack).all(), kink


@every_sound
def test_sound_gradients_are_finite_where_the_outputs_saturate(sound):
    op = made(sound)
    for size in (1000.0, -1000.0):
        inputs = torch.full_like(drawn(sound), size)
        outputs = forward(op, inputs)
        if outputs.isfinite().all():
            assert by_hand(op, inputs, torch.ones_like(outputs))["inputs"].isfinite().all()


@every_sound
def test_sound_ops_hold_in_their_own_dtype_and_leave_what_they_are_given(sound):
    torch.set_default_dtype(torch.float32)
    torch.manual_seed(0)
    op, inputs = sound.make(), drawn(sound)
    param = next(iter(params_of(op).values()), torch.empty(0))
    inputs = inputs.to(param.dtype)
    upstream = torch.randn_like(forward(op, inputs)).mT.contiguous().mT
    before = inputs.clone(), upstream.clone()
    hand, again = by_hand(op, inputs, upstream), by_hand(op, inputs, upstream)
    assert torch.equal(inputs, before[0])
    assert torch.equal(upstream, before[1])
    for key, like in ({"inputs": inputs} | params_of(op)).items():
        assert (hand[key].shape, hand[key].dtype) == (like.shape, like.dtype)
        assert torch.equal(hand[key], again[key])


# --- the wrong ones


def gradients(op, inputs, seed=2):
    """(by hand, by differences) for one upstream gradient; None for what the op did not give."""
    upstream = upstream_of(op, inputs, seed)
    hand = by_hand(op, inputs.clone(), upstream.clone())
    return hand, by_differences(op, inputs, upstream)


def pair(mutant, seed=5, rows=None, op=None):
    """The gradient that the mutant's row names, by hand and by differences."""
    hand, numeric = gradients(op or moved(made(mutant)), drawn(mutant, seed, rows))
    return hand.get(mutant.where), numeric[mutant.where]


def ratio(hand, numeric):
    return float((hand * numeric).sum() / (numeric * numeric).sum())


def is_wrong(hand, numeric):
    return not alike(hand, numeric)


def is_a_multiple(hand, numeric):
    return hand.shape == numeric.shape and alike(hand, ratio(hand, numeric) * numeric)


def outcome(rule, *arguments):
    """What a rule returns, or None where it raises."""
    try:
        return rule(*arguments)
    except Exception:  # whatever a wrong op comes to
        return None


def missing_gradient(mutant):
    op = made(mutant)
    inputs = drawn(mutant)
    return by_hand(op, inputs, upstream_of(op, inputs)).get(mutant.where) is None


def wrong_shape(mutant):
    hand, numeric = pair(mutant)
    return hand.shape != numeric.shape


def wrong_dtype(mutant):
    torch.set_default_dtype(torch.float32)
    op = mutant.make()
    like = next(iter(params_of(op).values()), torch.empty(0))
    inputs = drawn(mutant).to(like.dtype)
    upstream = upstream_of(op, inputs)
    return by_hand(op, inputs, upstream)[mutant.where].dtype != like.dtype


def not_summed_over_batch(mutant):
    right_for_one = mutant.also or alike(*pair(mutant, rows=1))
    return right_for_one and is_wrong(*pair(mutant))


def mean_instead_of_sum(mutant):
    hand, numeric = pair(mutant)
    counts = (len(drawn(mutant)), drawn(mutant).numel())
    return any(alike(hand * count, numeric) for count in counts)


def transposed(mutant):
    hand, numeric = pair(mutant)
    if mutant.where != "inputs":
        return is_wrong(hand, numeric) and alike(hand, numeric.T)
    op = moved(made(mutant))
    matrix = op.params["W"] if op.params else op.table
    hand = gradients(op, drawn(mutant))[0]["inputs"]
    matrix.copy_(matrix.T.clone())
    return is_wrong(hand, numeric) and alike(hand, gradients(op, drawn(mutant))[1]["inputs"])


def sign(mutant):
    hand, numeric = pair(mutant)
    return is_wrong(hand, numeric) and alike(-hand, numeric)


def scaled(mutant):
    hand, numeric = pair(mutant)
    return is_wrong(hand, numeric) and is_a_multiple(hand, numeric) and ratio(hand, numeric) > 0


def ignores_upstream(mutant):
    op, inputs = moved(made(mutant)), drawn(mutant)
    hands = [gradients(op, inputs, seed)[0][mutant.where].clone() for seed in (2, 3)]
    return is_wrong(*pair(mutant)) and torch.equal(*hands)


def another_function(mutant):
    """Wrong, and by no constant factor."""
    hand, numeric = pair(mutant)
    if hand.shape != numeric.shape or not numeric.any():
        return False
    return is_wrong(hand, numeric) and not is_a_multiple(hand, numeric)


def zero(mutant):
    hand, numeric = pair(mutant)
    return not hand.any() and bool(numeric.any())


def wrong_elements(mutant):
    hand, numeric = pair(mutant)
    right = (hand - numeric).abs() <= 1e-7 * (1 + numeric.abs())
    return hand.shape == numeric.shape and bool(right.any()) and not right.all()


def accumulates(mutant):
    op, inputs = moved(made(mutant)), drawn(mutant)
    upstream = upstream_of(op, inputs)
    first = by_hand(op, inputs, upstream)[mutant.where].clone()
    op.backward(upstream)
    again = ({"inputs": op.backward(upstream)} | grads_of(op))[mutant.where]
    return alike(first, pair(mutant)[1]) and alike(again, 3 * first)


def stale_state(mutant):
    fresh = made(mutant)
    inputs = drawn(mutant)
    upstream = upstream_of(made(mutant), inputs)
    first = by_hand(fresh, inputs, upstream)[mutant.where]
    right = by_differences(made(mutant), inputs, upstream)[mutant.where]
    op, inputs, upstream = rebound(fresh), drawn(mutant, seed=7), torch.randn_like(upstream)
    later = by_hand(op, inputs, upstream)[mutant.where]
    wanted = by_differences(op, inputs, upstream)[mutant.where]
    return alike(first, right) and is_wrong(later, wanted)


def mutates_inputs(mutant):
    op, inputs = moved(made(mutant)), drawn(mutant)
    upstream = upstream_of(op, inputs.clone())
    before = inputs.clone()
    by_hand(op, inputs, upstream)
    return alike(*pair(mutant)) and not torch.equal(inputs, before)


def mutates_upstream(mutant):
    op, inputs = moved(made(mutant)), drawn(mutant)
    upstream = upstream_of(op, inputs)
    before = upstream.clone()
    hand = by_hand(op, inputs, upstream)["inputs"].clone()
    right = alike(hand, by_differences(op, inputs, before)["inputs"])
    return right and not torch.equal(upstream, before)


def not_deterministic(mutant):
    op, inputs = moved(made(mutant)), drawn(mutant)
    upstream = upstream_of(op, inputs)
    if mutant.where == "outputs":
        return not torch.equal(forward(op, inputs), forward(op, inputs))
    forward(op, inputs)
    runs = [({"inputs": op.backward(upstream)} | grads_of(op))[mutant.where] for _ in range(2)]
    return not torch.equal(*runs)


def needs_contiguous(mutant):
    op, inputs = moved(made(mutant)), drawn(mutant)
    if mutant.where == "outputs":
        return outcome(forward, op, inputs.T.contiguous().T) is None
    upstream = upstream_of(op, inputs)
    loose = upstream.mT.contiguous().mT
    other, right = outcome(by_hand, op, inputs, loose), pair(mutant)
    return alike(*right) and (other is None or is_wrong(other[mutant.where], right[1]))


def fails_batch_of_one(mutant):
    where = "inputs" if mutant.where == "outputs" else mutant.where
    found = outcome(pair, mutant._replace(where=where), 5, 1)
    return alike(*pair(mutant._replace(where=where))) and (found is None or is_wrong(*found))


def fails_extra_axes(mutant):
    flat = mutant._replace(inputs=lambda: mutant.inputs()[0])
    found = outcome(pair, mutant)
    return alike(*pair(flat)) and (found is None or is_wrong(*found))


def low_precision(mutant):
    """Some of the result does not see a change that float64 does."""
    op, inputs = moved(made(mutant)), drawn(mutant)
    upstream = upstream_of(op, inputs)
    if mutant.where == "outputs":
        outputs = forward(op, inputs)
        return outputs.dtype == torch.float64 and torch.equal(outputs, outputs.float().double())
    hand, numeric = by_hand(op, inputs, upstream), by_differences(op, inputs, upstream)
    near = alike(hand[mutant.where], numeric[mutant.where], 0.01)
    return near and not alike(hand[mutant.where], numeric[mutant.where], 1e-9)


def not_finite(mutant):
    """Right near 0, and not finite at 0 or far from it."""
    op, bad = made(mutant), False
    for size in (0.0, 1000.0, -1000.0):
        inputs = torch.full_like(drawn(mutant), size)
        inputs[..., 0] *= -1
        outputs = forward(op, inputs)
        hand = by_hand(op, inputs, torch.ones_like(outputs))["inputs"]
        bad |= not (outputs if mutant.where == "outputs" else hand).isfinite().all()
    return bad and alike(*pair(mutant._replace(where="inputs")))


def illegal_subgradient(mutant):
    op, bad = made(mutant), False
    for kink in KINKS:
        inputs = torch.full_like(drawn(mutant), kink)
        upstream = torch.ones_like(inputs)
        hand = by_hand(op, inputs, upstream)["inputs"]
        left, right = (slopes(op, inputs, upstream, inputs, h, 0) for h in (-1e-7, 1e-7))
        bad |= bool((hand > torch.maximum(left, right) + 1e-3).any())
        bad |= bool((hand < torch.minimum(left, right) - 1e-3).any())
    return bad and alike(*pair(mutant))


def wrong_forward(mutant):
    inputs = drawn(mutant)
    wanted = mutant.reference(inputs)
    right = alike(*pair(mutant._replace(where="inputs")))
    return right and not alike(forward(made(mutant), inputs), wanted)


def halves_disagree(mutant):
    op, inputs = moved(made(mutant)), drawn(mutant)
    upstream = upstream_of(op, inputs)
    hand = by_hand(op, inputs, upstream)[mutant.where].clone()
    grads = {key: grad.clone() for key, grad in grads_of(op).items()}
    for part in grads_of(op).values():
        part.fill_(math.nan)
    op.backward_params(upstream)
    halves = {"inputs": op.backward_inputs(upstream)} | grads_of(op)
    assert grads.keys() == grads_of(op).keys()
    return alike(hand, pair(mutant)[1]) and is_wrong(halves[mutant.where], hand)


def raises(mutant):
    op, inputs = made(mutant), drawn(mutant)
    try:
        outputs = forward(op, inputs)
        op.backward(torch.ones_like(outputs))
        op.backward(torch.ones_like(outputs))
    except Exception:  # whatever a wrong op comes to
        return True
    return False


SHOWN_BY = {
    "missing-term": another_function,
    "wrong-value": another_function,
} | {
    shown.__name__.replace("_", "-"): shown
    for shown in (
        missing_gradient,
        wrong_shape,
        wrong_dtype,
        not_summed_over_batch,
        mean_instead_of_sum,
        transposed,
        sign,
        scaled,
        ignores_upstream,
        zero,
        wrong_elements,
        accumulates,
        stale_state,
        mutates_inputs,
        mutates_upstream,
        not_deterministic,
        needs_contiguous,
        fails_batch_of_one,
        fails_extra_axes,
        low_precision,
        not_finite,
        illegal_subgradient,
        wrong_forward,
        halves_disagree,
        raises,
    )
}


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.name for mutant in MUTANTS])
def test_a_mutant_shows_its_defect(mutant):
    assert SHOWN_BY[mutant.kind](mutant)


def test_the_tables_are_whole():
    for table in (SOUND, MUTANTS):
        assert len({row.name for row in table}) == len(table)
    kinds = Counter(mutant.kind for mutant in MUTANTS)
    assert set(kinds) == set(KINDS)
    assert min(kinds.values()) >= 2
    for mutant in MUTANTS:
        assert set(mutant.also) <= set(KINDS) - {mutant.kind}
        assert mutant.make().__class__.__doc__
        assert (mutant.reference is not None) == (mutant.kind == "wrong-forward")
