"""A trace: what autograd finds of the same step, a page that needs nothing, and no trace left."""

import copy
import json
import random
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from book import BookLogistic, PlainLinear
from cases import CASES, LOSS_CASES, model_of
from torch import nn

import opnet
from opnet import (
    Adam,
    BatchGD,
    BatchNorm,
    BinaryCrossEntropyLoss,
    Dropout,
    Linear,
    Logistic,
    LogSoftmax,
    MeanSquaredErrorLoss,
    Model_MLP_L2,
    Op,
    ReLU,
    Sequential,
    Softmax,
    Tanh,
    accuracy,
    make_moons,
    plots,
)
from opnet.step import training_step
from opnet.tracing.page import COLUMNS
from opnet.walk import dict_of, every_op, every_part, named_ops, state
from runners import RunnerV2_1, Traces

CHROME = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chrome"))), None)


def moons_model():
    model = Model_MLP_L2(2, 5, 1)
    return model, BinaryCrossEntropyLoss(model)


def shown(tensors):
    return {tensor.name: tensor for tensor in tensors}


def test_means_and_spreads_are_those_of_autograd():
    X, y = torch.randn(50, 3), torch.rand(50, 1)
    model = Sequential(Linear(3, 4, "fc1"), Tanh(), Linear(4, 1, "fc2"))
    lines = opnet.trace(model, MeanSquaredErrorLoss(model), X, y).lines
    fc1, _, fc2 = model.layers
    W1, b1, W2, b2 = (*fc1.params.values(), *fc2.params.values())
    z = (X @ W1 + b1).requires_grad_()
    seen = [z, a := torch.tanh(z), p := a @ W2 + b2]
    for tensor in seen:
        tensor.retain_grad()
    nn.functional.mse_loss(p, y).backward()
    for line, outputs in zip(lines, seen, strict=False):
        for tensor, wanted in ((line.forward[-1], outputs), (line.backward[0], outputs.grad)):
            assert tensor.shape == list(wanted.shape)
            assert tensor.mean == pytest.approx(wanted.mean().item(), abs=1e-6)
            assert tensor.spread == pytest.approx(wanted.std(correction=0).item(), rel=1e-4)
            torch.testing.assert_close(torch.tensor(tensor.values), wanted[:8, :8].double().float())


def test_norms_of_gradients_and_updates_are_those_of_the_step_that_follows():
    X, y = make_moons(60, seed=0)
    model, loss_fn = moons_model()
    optimizer = Adam(0.1, model)
    training_step(model, loss_fn, optimizer, X, y)
    found = opnet.trace(model, loss_fn, X, y, optimizer=optimizer)
    before = {name: copy.deepcopy(op.params) for name, op in named_ops(model).items()}
    training_step(model, loss_fn, optimizer, X, y)
    norms = plots.gradient_norms(model)
    assert {k: pytest.approx(v, rel=1e-4) for k, v in norms.items()} == found.gradient_norms
    for line in found.lines:
        was = before.get(line.name) or {}
        assert (line.update is None) == (not was)
        if was:
            now = getattr(model, line.name).params
            moved = sum((now[k] - was[k]).square().sum() for k in was).sqrt()
            size = sum(p.square().sum() for p in was.values()).sqrt()
            assert line.update == pytest.approx(float(moved / size), rel=1e-3)


def test_units_are_dead_and_saturated_as_they_were_made():
    X = torch.rand(30, 2) + 0.1
    model = Sequential(Linear(2, 4, "fc1"), ReLU("relu"), Linear(4, 4, "fc2"), Logistic("s"))
    model.layers[0].params["W"].copy_(torch.tensor([[1.0, 1, -1, -1], [1, 1, -1, -1]]))
    model.layers[2].params["b"].copy_(torch.tensor([[0.0, 0, 0, 50]]))
    model.layers[2].params["W"][2:].fill_(1.0)
    lines = {
        line.name: line
        for line in opnet.trace(model, MeanSquaredErrorLoss(model), X, torch.rand(30, 4)).lines
    }
    assert (lines["relu"].saturated, lines["relu"].dead) == (0.5, 0.5)
    assert lines["fc1"].dead == 0.5
    assert lines["fc2"].dead == 0.25  # the slope behind b = 50 is 0 in float32
    assert shown(lines["s"].units)["saturated"].values[0][3] == 1.0


def test_a_unit_whose_bias_has_a_gradient_is_not_dead():
    model = Sequential(Linear(2, 1, "fc1"), ReLU(), Linear(1, 1, "fc2"))
    model.layers[0].params["b"].fill_(-100.0)
    lines = opnet.trace(
        model, MeanSquaredErrorLoss(model), torch.rand(5, 2), torch.ones(5, 1)
    ).lines
    assert [line.dead for line in lines[:3]] == [1.0, 1.0, 0.0]


def test_ops_that_couple_or_draw_are_not_called_saturated():
    ops = Linear(2, 3), BatchNorm(3), LogSoftmax(), Dropout(0.5), Softmax(), Tanh()
    model = Sequential(*ops)
    *lines, tanh, _ = opnet.trace(
        model, MeanSquaredErrorLoss(model), torch.randn(4, 2), torch.rand(4, 3)
    ).lines
    assert all(line.saturated is None for line in lines)
    assert tanh.saturated == 0


class Scaled(Op):
    """y = a x + b,  dL/da = sum g x,  dL/db = sum_n g,  dL/dx = a g."""

    def __init__(self):
        self.params = {"a": torch.ones(1, 1), "b": torch.zeros(1, 3)}

    def forward(self, inputs):
        self.inputs = inputs
        return self.params["a"] * inputs + self.params["b"]

    def backward_params(self, grads):
        self.grads["a"] = (grads * self.inputs).sum().reshape(1, 1)
        self.grads["b"] = grads.sum(0, keepdim=True)

    def backward_inputs(self, grads):
        return self.params["a"] * grads


def test_params_that_units_share_make_no_unit_dead():
    model = Sequential(Linear(2, 3), Scaled())
    y = torch.rand(4, 3)
    scaled = opnet.trace(model, MeanSquaredErrorLoss(model), torch.randn(4, 2), y).lines[1]
    assert (scaled.dead, scaled.units) == (None, [])
    assert scaled.gradient > 0


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_every_op_can_be_traced_and_shown(case, tmp_path):
    op = Sequential(case.make())
    X = torch.randn(*case.shape, dtype=torch.float64)
    found = opnet.trace(op, MeanSquaredErrorLoss(op), X, torch.zeros_like(op(X)))
    assert [line.name for line in found.lines[:-1]] == [*named_ops(op)]
    for line in found.lines:
        assert all(cell in str(found) for cell in line.cells())
        assert line.formula in str(found)
    assert found.save_html(tmp_path / "new" / "trace.html").stat().st_size > 5000


@pytest.mark.parametrize("case", LOSS_CASES, ids=[case.name for case in LOSS_CASES])
def test_every_loss_ends_a_trace(case):
    model = model_of(case)
    X = torch.randn(5, 3, dtype=torch.float64)
    loss_fn, y = case.make(model), case.labels(model(X))
    found = opnet.trace(model, loss_fn, X, y)
    assert found.loss == pytest.approx(float(loss_fn(model(X), y)))
    assert [tensor.name for tensor in found.lines[-1].forward] == ["predictions", "labels", "loss"]


def test_rules_of_a_learners_and_bare_ops_are_traced_too():
    model = Sequential(PlainLinear(2, 3, "fc1"), BookLogistic())
    found = opnet.trace(model, MeanSquaredErrorLoss(model), torch.randn(4, 2), torch.rand(4, 3))
    line, act = found.lines[:2]
    assert line.gradient > 0
    assert act.saturated is not None
    assert "torch.matmul(self.inputs.T, grads)" in line.source


def test_the_lines_of_the_chain_rule_stand_beside_what_they_made():
    X, y = make_moons(10, seed=0)
    fc1, act, _, _, loss = opnet.trace(*moons_model(), X, y).lines
    rules = {tensor.name: tensor.rule for tensor in (*fc1.forward, *fc1.backward)}
    assert rules["outputs"] == "y = x W + b"
    assert rules["dL/dW"] == "dL/dW = x^T g"
    assert rules["dL/d inputs"] == "dL/dx = g W^T"
    assert rules["dL/d outputs"] == "g = dL/d inputs of act_fn1"
    assert shown(act.backward)["dL/d inputs"].rule == "dL/dz = g dp/dz,  dp/dz = p (1 - p)"
    assert loss.backward[0].rule.startswith("dL/dp = (p - y)")
    assert "def backward_params(self, grads" in fc1.source


class Branched(Op):
    """y = last(f(x) + x),  beside which a sum stands."""

    def __init__(self):
        self.layers = [Tanh(), Linear(2, 1, "last")]

    def forward(self, inputs):
        return self.layers[1].forward(self.layers[0].forward(inputs) + inputs)

    def backward(self, grads):
        grads = self.layers[1].backward(grads)
        return self.layers[0].backward(grads * 2) + grads


def test_a_gradient_has_the_name_of_the_op_only_where_it_came_from_there_as_it_is():
    model = Branched()
    tanh, last, _ = opnet.trace(
        model, MeanSquaredErrorLoss(model), torch.randn(4, 2), torch.rand(4, 1)
    ).lines
    assert shown(tanh.backward)["dL/d outputs"].rule == "g = dL/d outputs"
    assert shown(last.backward)["dL/d outputs"].rule == "g = dL/d predictions"


class First(PlainLinear):
    """y = x W + b, and gives nothing back, as nobody reads it."""

    def backward(self, grads):
        super().backward(grads)


def test_a_first_op_need_not_send_anything_back():
    model = Sequential(First(2, 3, "fc1"), Tanh())
    fc1, *_ = opnet.trace(
        model, MeanSquaredErrorLoss(model), torch.randn(4, 2), torch.rand(4, 3)
    ).lines
    assert fc1.gradient > 0
    assert "dL/d inputs" not in shown(fc1.backward)
    assert shown(fc1.backward)["dL/d outputs"].rule == "g = dL/d inputs of Tanh_1"


class Rolls(Op):
    """y = x + noise, from whatever source of random numbers there is."""

    def forward(self, inputs):
        return inputs + random.random() + np.random.rand() + torch.rand(1)

    def backward_inputs(self, grads):
        return grads


def test_a_trace_draws_from_no_one():
    def drawn():
        return torch.rand(1).item(), random.random(), np.random.rand()

    def seed():
        torch.manual_seed(1)
        random.seed(1)
        np.random.seed(1)

    model = Sequential(Linear(2, 2), Rolls())
    seed()
    wanted = drawn()
    seed()
    opnet.trace(
        model,
        MeanSquaredErrorLoss(model),
        torch.randn(4, 2, generator=torch.Generator()),
        torch.zeros(4, 2),
    )
    assert drawn() == wanted


def test_a_trace_leaves_no_trace():
    X, y = make_moons(20, seed=0)
    model = Sequential(Linear(2, 3), BatchNorm(3), Dropout(0.5), Linear(3, 1), Logistic())
    loss_fn, optimizer = BinaryCrossEntropyLoss(model), Adam(0.1, model)
    training_step(model, loss_fn, optimizer, X, y)

    def held():
        return [{k: id(v) for k, v in vars(p).items()} for p in every_part(model, loss_fn)]

    def tensors():
        grads = [g for op in every_op(model) for g in dict_of(op, "grads").values()]
        return [*state(model), *grads, *optimizer.state_dict().values(), torch.get_rng_state()]

    before, bits = held(), copy.deepcopy(tensors())
    opnet.trace(model, loss_fn, X, y, optimizer=optimizer)
    assert held() == before
    assert all(map(torch.equal, tensors(), bits))


@pytest.fixture
def page(tmp_path):
    X, y = make_moons(640, noise=0.2, seed=0)
    model, loss_fn = moons_model()
    return opnet.trace(model, loss_fn, X, y, optimizer=Adam(0.05, model)).save_html(
        tmp_path / "trace.html"
    )


REFERENCES = re.compile(
    r"https?:|\b(src|srcset|href|action|data|poster)\s*=|url\(|@import|<script", re.I
)


def test_a_page_refers_to_nothing(page):
    assert not REFERENCES.search(page.read_text())
    assert REFERENCES.search('<img SRC = "x">')


class Tags(HTMLParser):
    """The tags that are open, each closed in its turn; void ones left out."""

    VOID = ("meta", "rect", "br")

    def __init__(self, page):
        super().__init__()
        self.open, self.details = [], 0
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.details += ("class", "op") in attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_a_page_is_sound_and_has_an_op_to_open_for_each_line(page):
    tags = Tags(page.read_text())
    assert tags.open == []
    assert tags.details == 5


def test_what_a_learner_called_an_op_is_no_html(tmp_path):
    class Odd(Op):
        """y = x <script>alert(1)</script>."""

        def forward(self, inputs):
            self.inputs = inputs
            return inputs * 1

        def backward_inputs(self, grads):
            return grads * len("</pre><script>") / 14

    model = Sequential(Linear(2, 2), type("<script>", (Odd,), {"__doc__": Odd.__doc__})())
    found = opnet.trace(model, MeanSquaredErrorLoss(model), torch.randn(3, 2), torch.rand(3, 2))
    for text in (found.save_html(tmp_path / "x.html").read_text(), found._repr_html_()):
        assert "<script" not in text
        assert "&lt;script&gt;" in text


def test_values_that_are_not_finite_are_shown_too(tmp_path):
    model = Sequential(Linear(1, 2, "fc1"), Logistic())
    model.layers[0].params["W"].fill_(1e38)
    found = opnet.trace(
        model, MeanSquaredErrorLoss(model), torch.full((4, 1), 1e3), torch.zeros(4, 2)
    )
    assert str(found.lines[0].forward[-1]) == "inf ± nan"
    assert '<td class="x">inf</td>' in found.save_html(tmp_path / "x.html").read_text()


@pytest.mark.parametrize("tiny", [5e-324, 1e-310, 1e-40])
def test_the_smallest_numbers_are_shown_too(tiny, tmp_path):
    model = Sequential(Linear(1, 1, "fc1", dtype=torch.float64), Tanh())
    X = torch.full((2, 1), tiny, dtype=torch.float64)
    found = opnet.trace(model, MeanSquaredErrorLoss(model), X, torch.zeros_like(X))
    assert found.save_html(tmp_path / "x.html").exists()


def test_each_number_of_a_line_has_its_name_for_narrow_windows(page):
    names = re.findall(r'data-name="([^"]+)"', page.read_text().partition("</summary>")[0])
    assert names == [*COLUMNS[1:]]
    assert "attr(data-name)" in page.read_text()


def test_a_page_that_cannot_be_written_leaves_the_old_one(tmp_path):
    X, y = make_moons(10, seed=0)
    found = opnet.trace(*moons_model(), X, y)
    with pytest.raises(ValueError, match="cannot be written"):
        found.save_html(tmp_path)
    assert not [*tmp_path.iterdir()]
    with pytest.raises(TypeError, match="save_html: path is None, wanted a path"):
        found.save_html(None)


def opened(path, directory):
    """(the page as a browser has it, the addresses that the page asked for)."""
    log = directory / "net.json"
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run"]
    flags += [f"--user-data-dir={directory / 'profile'}", f"--log-net-log={log}"]
    flags += ["--host-resolver-rules=MAP * ~NOTFOUND", "--dump-dom"]
    done = subprocess.run(
        [CHROME, *flags, path.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    events = [event.get("params", {}) for event in json.loads(log.read_text())["events"]]
    by_page = [e for e in events if e.get("initiator", "not an origin") != "not an origin"]
    return done.stdout, {event["url"] for event in by_page}


@pytest.mark.skipif(CHROME is None, reason="no chromium and no google-chrome on PATH")
def test_a_browser_shows_the_page_of_the_moons_and_asks_no_one(page, tmp_path):
    shows, asked = opened(page, tmp_path)
    assert asked == set()
    assert Tags(shows).details == 5
    with_image = tmp_path / "with_image.html"
    with_image.write_text('<!DOCTYPE html><img src="http://example.com/x.png">')
    assert opened(with_image, tmp_path)[1] == {"http://example.com/x.png"}


def test_a_callback_keeps_a_trace_every_so_many_epochs_and_of_the_last(job, moons):
    runner, traces = job(), Traces(moons[0], every=3)
    runner.train(*moons[:2], num_epochs=11, log_epochs=0, callbacks=[traces])
    assert [*traces.traces] == [*traces.flow] == [2, 5, 8, 10]
    assert all(found.lines[0].update > 0 for found in traces.traces.values())


def test_a_run_that_is_traced_makes_the_same_weights(job, moons):
    runs = [job(), job()]
    runs[0].train(*moons[:2], num_epochs=5, log_epochs=0)
    runs[1].train(*moons[:2], num_epochs=5, log_epochs=0, callbacks=[Traces(moons[0])])
    assert all(map(torch.equal, state(runs[0].model), state(runs[1].model)))


def test_a_gradient_flow_is_drawn_over_the_epochs_of_the_traces(job, moons):
    runner, traces = job(), Traces(moons[0], every=2)
    runner.train(*moons[:2], num_epochs=5, log_epochs=0, callbacks=[traces])
    (axes,) = plots.gradient_flow(traces.flow).axes
    assert axes.get_xlabel() == "epoch"
    for line, layer in zip(axes.lines, ("fc1", "fc2"), strict=True):
        assert list(line.get_xdata()) == [1, 3, 4]
        assert list(line.get_ydata()) == [norms[layer] for norms in traces.flow.values()]


def test_a_resumed_run_goes_on_with_its_flow(moons, tmp_path):
    found = []
    for epochs in (4, 8):
        model = Model_MLP_L2(2, 3, 1, generator=torch.Generator().manual_seed(0))
        runner = RunnerV2_1(model, BatchGD(1.0, model), accuracy, BinaryCrossEntropyLoss(model))
        found.append(Traces(moons[0], every=2))
        how = {"log_epochs": 0, "save_dir": tmp_path, "resume": True}
        runner.train(*moons[:2], num_epochs=epochs, callbacks=found[-1:], **how)
    assert [*found[1].flow] == [1, 3, 5, 7]
    assert found[1].flow[3] == found[0].flow[3]
    assert [*found[1].traces] == [5, 7]


@pytest.mark.parametrize(
    ("made", "error", "said"),
    [
        (lambda: Traces(torch.ones(2, 2)), TypeError, "Traces: rows is a Tensor, wanted"),
        (lambda: Traces([1, 2], every=0), ValueError, "Traces: every is 0, wanted a whole number"),
        (lambda: opnet.trace(3, 4, 5, 6), TypeError, "trace: model is a int, wanted a model"),
        (lambda: opnet.trace(Tanh(), 4, 5, 6), TypeError, "trace: loss_fn is 4, wanted a loss"),
        (
            lambda: opnet.trace(*moons_model(), 5, 6, optimizer=BatchGD),
            TypeError,
            "trace: optimizer is <class 'opnet.optimizers.BatchGD'>, wanted one, with a step",
        ),
        (
            lambda: opnet.trace(
                *moons_model(), 5, 6, optimizer=torch.optim.SGD([torch.ones(1)], 0.1)
            ),
            TypeError,
            "trace: optimizer is SGD of torch, which reads no grads of ops, wanted one of",
        ),
        (
            lambda: opnet.trace(*moons_model(), 5, 6, optimizer=BatchGD(0.1, Tanh())),
            ValueError,
            "trace: BatchGD is of another model",
        ),
        (
            lambda: opnet.trace(*moons_model(), [["a"]], [[1]]),
            TypeError,
            "trace: X is a list, wanted a Tensor",
        ),
        (
            lambda: opnet.trace(*moons_model(), torch.ones(2, 3), torch.ones(2, 1)),
            ValueError,
            "Linear 'fc1': inputs have 3 columns, W wants 2",
        ),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(made, error, said):
    with pytest.raises(error, match=said) as raised:
        made()
    assert len(str(raised.value).splitlines()) == 1


def test_rows_that_do_not_fit_are_refused_before_the_first_epoch(job, moons):
    runner = job()
    with pytest.raises(ValueError, match="columns"):
        runner.train(
            *moons[:2], num_epochs=2, log_epochs=0, callbacks=[Traces([torch.ones(2, 3)] * 2)]
        )
    assert runner.train_loss == []
