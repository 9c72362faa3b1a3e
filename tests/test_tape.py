"""A tape does again what its rule has done, on the same memory; it never guesses."""

from functools import partial

import pytest
import torch

from opnet import tape as room
from opnet.tape import Tape


def draws(t, g):
    noise = torch.rand(3, 4, generator=g)
    return [t["x"] * noise, torch.bernoulli(t["x"].sigmoid(), generator=g)]


RULES = {  # every name of `t` is a tensor that the rule may read and write
    "functions": lambda t, g: [torch.sigmoid(t["x"]) * t["x"] - 2, t["x"].exp().sum(dim=1)],
    "in place": lambda t, g: [t["x"].mul_(0.5).add_(t["y"], alpha=-0.1), t["y"].neg_()],
    "into given memory": lambda t, g: [torch.mm(t["x"], t["y"].T, out=t["z"]), t["z"] + 1],
    "views": lambda t, g: [t["x"].T[1:].flatten(), t["x"][0].add_(1), t["x"].view(2, 6).sum(0)],
    "lists": lambda t, g: torch._foreach_mul([t["x"], t["y"]], 0.5),
    "lists in place": lambda t, g: (torch._foreach_add_([t["x"]], [t["y"]]), [t["x"] + 0])[1],
    "several outputs": lambda t, g: list(torch.max(t["x"], dim=1)),
    "no binding of torch": lambda t, g: [torch.ops.aten.sigmoid_backward(t["x"], t["y"])],
    "two variants of one name": lambda t, g: [torch.lerp(t["x"], t["y"], t["y"].sigmoid())],
    "numbers": lambda t, g: [torch.where(t["x"] > 0, t["x"], -1.0), t["x"].clamp_min(0.2) ** 2],
    "numbers for tensors": lambda t, g: [t["x"] / 3, t["y"].mul_(0.1), t["i"] * 2.5, 1 - t["z"]],
    "numbers and half floats": lambda t, g: [t["x"].bfloat16() * 0.1, t["x"].half().div_(3)],
    "whole numbers": lambda t, g: [(t["x"] > 0).long().cumsum(0), t["x"].argmax(dim=1)],
    "places": lambda t, g: [t["x"][torch.tensor([2, 0, 2])], t["x"].gather(0, t["i"])],
    "constants": lambda t, g: [torch.tensor([1.0, 2.0]) + t["x"][:2, :2], torch.ones(2).mul_(3)],
    "empty memory": lambda t, g: [torch.empty(3, 4).copy_(t["x"])],
    "drawn": draws,
    "written and given": lambda t, g: [torch.rrelu(t["x"], 0.1, 0.3, training=True)],
}


def tensors():
    g = torch.Generator().manual_seed(0)
    shapes = {"x": (3, 4), "y": (3, 4), "z": (3, 3)}
    made = {name: torch.randn(shape, generator=g) for name, shape in shapes.items()}
    return made | {"i": torch.tensor([[2, 1, 0, 0]])}, g


@torch.no_grad()
def three_times(rule, recorded):
    """What a rule leaves at three calls, and the tensors after them; the last two are replays."""
    t, g = tensors()
    torch.manual_seed(0)
    left, now = [], rule(t, g)
    left += [tensor.clone() for tensor in now]
    if recorded:
        replay, now = Tape(None, []).record(lambda: rule(t, g))
    else:
        now = rule(t, g)
    left += [tensor.clone() for tensor in now]
    now = replay() if recorded else rule(t, g)
    return [*left, *now, *t.values(), g.get_state()]


@pytest.mark.parametrize("name", RULES)
def test_a_replay_does_what_the_rule_does(name):
    pairs = zip(three_times(RULES[name], True), three_times(RULES[name], False), strict=True)
    for ours, expected in pairs:
        assert ours.dtype == expected.dtype
        assert torch.equal(ours, expected)


def test_a_replay_runs_no_python_of_the_rule():
    calls, x = [], torch.ones(3)

    def rule():
        calls.append(1)
        return [x.add_(1)]

    replay, _ = Tape(None, []).record(rule)
    assert [replay()[0].tolist() for _ in range(3)] == [[3.0] * 3, [4.0] * 3, [5.0] * 3]
    assert len(calls) == 1


@pytest.mark.parametrize(
    "reads",
    [
        lambda x: [x * float(x.sum())],
        lambda x: [x + 1] if x.sum() > 0 else [x],
        lambda x: [x[x > 0]],
        lambda x: [x.nonzero()],
        lambda x: [torch.masked_select(x, x > 0)],
    ],
)
def test_what_reads_back_is_not_recorded(reads):
    rule = partial(reads, torch.ones(3))
    again, left = Tape(None, []).record(rule)
    assert again is rule
    assert all(map(torch.equal, left, rule()))


def test_what_makes_too_much_is_not_recorded(monkeypatch):
    monkeypatch.setattr(room, "MOST_HELD", 40)
    x = torch.ones(4)
    rules = [lambda: [x + 1, x + 2], lambda: [x + 1, x + 2, x + 3]]
    tapes = [Tape(None, []) for _ in rules]
    recorded = [tape.record(rule)[0] is not rule for tape, rule in zip(tapes, rules, strict=True)]
    assert recorded == [True, False]
    assert [len(tape.calls) for tape in tapes] == [2, 0]


def test_a_binding_that_leads_elsewhere_is_not_taken(monkeypatch):
    """Else a name that torch gives to something new would change what a replay computes."""
    x = torch.tensor([0.0, 1.0])
    monkeypatch.setattr(torch, "sin", torch.cos)
    replay, _ = Tape(None, []).record(lambda: [torch.Tensor.sin(x)])
    assert replay()[0].tolist() == pytest.approx([0.0, 0.841471], abs=1e-6)
