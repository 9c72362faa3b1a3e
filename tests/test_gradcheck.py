"""The check finds every wrong op of the bank, names it, and spares every right one."""

import functools
import json
import random
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from cases import CASES
from mutants import MUTANTS
from sound_ops import SOUND

import opnet
from opnet import (
    BinaryCrossEntropyLoss,
    CrossEntropyLoss,
    HalfSquaredErrorLoss,
    HingeLoss,
    Linear,
    Logistic,
    LogSoftmax,
    MeanSquaredErrorLoss,
    Model_MLP_L2,
    Sequential,
    Softmax,
    WeightedLoss,
)
from opnet.gradcheck.report import MENDS
from opnet.testing import assert_op

SEEDS = 2  # here; `python -m experiments.gradient_check --seeds 20` runs more


def inputs_of(row):
    return row.inputs() if callable(row.inputs) else row.inputs


@functools.cache
def report_on(mutant):
    """Whether it fails and what it is called are asked of one report."""
    return opnet.check(mutant.make(), inputs_of(mutant), reference=mutant.reference)


@pytest.mark.parametrize("op", SOUND, ids=[op.name for op in SOUND])
def test_a_right_op_passes(op):
    for seed in range(SEEDS):
        report = opnet.check(op.make(), inputs_of(op), seed=seed)
        assert report.passed, report
        assert report.rows, "nothing was compared"


@pytest.mark.filterwarnings("ignore:The use of `x.T` on tensors")
@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.name for mutant in MUTANTS])
def test_a_wrong_op_is_found(mutant):
    report = report_on(mutant)
    assert not report.passed
    assert all(finding.kind in MENDS for finding in report.findings)


@pytest.mark.filterwarnings("ignore:The use of `x.T` on tensors")
def test_nine_in_ten_wrong_ops_are_called_by_their_kind():
    wrong = []
    for mutant in MUTANTS:
        first = report_on(mutant).findings[0]
        if first.kind not in (mutant.kind, *mutant.also):
            wrong.append((mutant.name, mutant.kind, first))
    assert len(wrong) <= 0.1 * len(MUTANTS), wrong


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_every_op_of_opnet_passes(case, dtype):
    op = case.make()
    if hasattr(op, "to"):
        op.to(dtype)
    for inputs in (None, torch.randn(case.shape, dtype=dtype)):
        report = opnet.check(op, inputs)
        assert report.passed, report


def test_an_element_among_many_is_found():
    class Lost(Linear):
        def backward_params(self, grads):
            super().backward_params(grads)
            self.grads["W"][39, 29] = 0

    (finding,) = opnet.check(Lost(40, 30, "wide")).findings
    assert (finding.kind, finding.where) == ("wrong-elements", "W")
    assert opnet.check(Linear(40, 30, "wide")).passed


HEADS = {"none": None, "logits": [], "probabilities": [Softmax()], "logs": [LogSoftmax()]}


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize(
    "loss", [MeanSquaredErrorLoss, HalfSquaredErrorLoss, HingeLoss, CrossEntropyLoss]
)
def test_every_loss_passes_behind_every_head(loss, head):
    layers = HEADS[head]
    model = None if layers is None else Sequential(Linear(2, 3, "fc1"), *layers)
    for seed in range(SEEDS):
        report = opnet.check(loss(model), seed=seed)
        assert report.passed, report


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("loss", [MeanSquaredErrorLoss, HingeLoss, CrossEntropyLoss])
def test_every_loss_passes_with_weights(loss, head):
    layers = HEADS[head]
    model = None if layers is None else Sequential(Linear(2, 3, "fc1"), *layers)
    report = opnet.check(WeightedLoss(loss(model)))
    assert report.passed, report


@pytest.mark.parametrize(
    "model", [None, Model_MLP_L2(2, 5, 1), Sequential(Linear(3, 2, "a"), Logistic())]
)
def test_a_loss_passes_alone_and_with_its_model(model):
    report = opnet.check(BinaryCrossEntropyLoss(model))
    assert report.passed, report
    assert len(report.rows) == (1 if model is None else 1 + 2 * len(model.layers[::2]))


def test_a_wrong_loss_and_a_wrong_op_under_a_loss_are_found():
    class Twice(BinaryCrossEntropyLoss):
        def backward_inputs(self):
            return 2 * super().backward_inputs()

    (finding, *_) = opnet.check(Twice()).findings
    assert (finding.kind, finding.where) == ("scaled", "inputs")
    assert "2 times" in finding.message

    class NoSlope(Logistic):
        def backward_inputs(self, grads):
            return grads

    model = Sequential(Linear(2, 3, "fc1"), NoSlope(), Linear(3, 1, "fc2"), Logistic())
    findings = opnet.check(BinaryCrossEntropyLoss(model)).findings
    assert findings
    assert {f.where for f in opnet.check(model).findings} == {"NoSlope_1"}


def test_a_report_is_a_table_that_says_how_to_mend():
    class Half(Linear):
        def backward_params(self, grads):
            super().backward_params(grads)
            self.grads["W"].mul_(0.5)

    report = opnet.check(Half(2, 3, "fc1"))
    text = str(report)
    assert text.startswith("Half 'fc1': FAILED")
    (row,) = (row for row in report.rows if not row.right)
    assert row.where == "W"
    assert row.hand == pytest.approx(row.numeric / 2)
    assert row.error == pytest.approx(abs(row.hand - row.numeric))
    shown = re.search(r"dL/d W +6 +\S+ +\[(\d), (\d)\] +(\S+) +(\S+) +WRONG", text)
    assert [int(shown[1]), int(shown[2])] == row.at
    assert (float(shown[3]), float(shown[4])) == pytest.approx((row.hand, row.numeric), rel=1e-5)
    assert "scaled in W: 0.5 times the right one" in text
    assert f"to mend: {MENDS['scaled']}" in text
    assert "passed" in str(opnet.check(Linear(2, 3)))


def test_nothing_of_the_op_or_of_the_random_state_changes():
    op = Linear(2, 3, "fc1")
    inputs = torch.randn(5, 2)
    op(inputs)
    before = {key: tensor.clone() for key, tensor in op.params.items()}
    held = dict(vars(op))
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
    opnet.check(op, inputs)
    assert all(vars(op)[key] is held[key] for key in held)
    assert all(torch.equal(op.params[key], before[key]) for key in before)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert (np.random.get_state()[1] == states[2]).all()
    assert torch.get_default_dtype() == torch.float32


def test_the_same_seed_gives_the_same_report():
    op = Linear(2, 3, "fc1")
    assert str(opnet.check(op, seed=3)) == str(opnet.check(op, seed=3))


@pytest.mark.parametrize(
    ("op", "said"),
    [(3, "int has no forward"), (Linear, "came the class Linear"), (print, "has no backward")],
)
def test_what_is_no_op_is_a_type_error(op, said):
    with pytest.raises(TypeError, match=said):
        opnet.check(op)


def test_assert_op_raises_the_report():
    assert_op(Logistic())
    with pytest.raises(AssertionError, match="mean-instead-of-sum in b"):
        assert_op(next(m for m in MUTANTS if m.name == "MeanBias").make())


# --- the command line

FILE = """
import torch
from opnet import Linear, Op

print("the file says something")

class Cube(Op):
    def forward(self, inputs):
        self.inputs = inputs
        return inputs**3
    def backward_inputs(self, grads):
        return 3 * self.inputs**2 * grads

class Wrong(Cube):
    def backward_inputs(self, grads):
        return 2 * self.inputs**2 * grads

class Needs(Op):
    def __init__(self, size):
        pass

class Leaves(Cube):
    def forward(self, inputs):
        raise SystemExit(0)

ready = Linear(4, 2, "ready")
number = 3
"""


def command(tmp_path, *arguments):
    (tmp_path / "mine.py").write_text(FILE)
    line = [sys.executable, "-W", "error", "-m", "opnet", "check", *arguments]
    return subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False)


def test_the_command_line_checks_a_class_and_an_instance(tmp_path):
    for target in ("mine.py:Cube", "mine.py:ready"):
        done = command(tmp_path, target, "--input", "5x4")
        assert (done.returncode, done.stderr) == (0, "the file says something\n")
        assert "passed" in done.stdout


def test_the_command_line_exits_1_with_what_it_found(tmp_path):
    done = command(tmp_path, "mine.py:Wrong", "--json")
    assert done.returncode == 1
    report = json.loads(done.stdout)
    assert not report["passed"]
    assert report["findings"][0]["kind"] == "scaled"
    assert report["findings"][0]["mend"] == MENDS["scaled"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["mine.py"], "'mine.py' is not path/to/file.py:ClassOrInstance"),
        (["none.py:Op"], "none.py: no such file"),
        (["mine.py:Nothing"], "AttributeError: mine.py has no Nothing"),
        (["mine.py:Needs"], "TypeError: Needs.__init__() missing 1 required"),
        (["mine.py:number"], "TypeError: check: int has no forward"),
        (["mine.py:Leaves"], "SystemExit: 0"),
        (["mine.py:Cube", "--input", "5xx"], "'5xx' is not a shape as 5x4"),
        (["mine.py:Cube", "--inputs", "5x4"], "unrecognized arguments"),
    ],
)
def test_what_cannot_be_checked_exits_2_in_one_line(tmp_path, arguments, said):
    done = command(tmp_path, *arguments)
    assert done.returncode == 2
    assert said in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
