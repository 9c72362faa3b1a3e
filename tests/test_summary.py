"""A summary: each op once, with the shapes and sizes of a run and the costs that torch counts."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from opnet import BatchNorm, Dropout, Linear, Logistic, Model_MLP_L2, Op, Sequential, Softmax
from opnet.summary import formula_of, summary
from opnet.walk import every_part, leaf_ops, state
from runners.history import History


class Bare:
    """Of a learner's: neither params nor a formula."""

    def forward(self, x):
        return x + 1

    def backward(self, grads):
        return grads


class Mine(Op):
    def forward(self, inputs):
        return inputs[..., :3]

    def backward_inputs(self, grads):
        return torch.nn.functional.pad(grads, (0, 1))


class BooksLinear(Op):
    """The book's: y = x W + b."""

    def __init__(self):
        self.params = {"W": torch.randn(4, 6), "b": torch.zeros(1, 6)}

    def forward(self, inputs):
        return inputs @ self.params["W"] + self.params["b"]

    def backward(self, grads):
        return grads @ self.params["W"].T


MODELS = {
    "the book's": (Model_MLP_L2(2, 5, 1), None),
    "narrow": (Sequential(Linear(1, 3), Linear(3, 1), Linear(1, 1)), (7, 1)),
    "deep": (Sequential(*(Linear(8, 8, dtype=torch.float64) for _ in range(5))), (64, 8)),
    "batch axes": (Sequential(Linear(4, 3), Logistic()), (2, 3, 5, 4)),
    "nested": (Sequential(Linear(4, 3), Sequential(Bare(), Linear(3, 2)), Softmax()), 4),
    "a learner's": (Sequential(Dropout(0.5), BooksLinear(), Bare()), (9, 4)),
    "told by a later op": (Sequential(BatchNorm(6), Linear(6, 2)), None),
    "without weights": (Sequential(Mine(), Bare()), 4),
}
every_model = pytest.mark.parametrize(("model", "inputs"), MODELS.values(), ids=MODELS)


@every_model
def test_each_op_has_a_line_with_the_shapes_of_a_run(model, inputs):
    made = summary(model, inputs)
    x = next((t for t in state(model)), torch.empty(0)).new_zeros(made.inputs)
    for line, op in zip(made.lines, leaf_ops(model), strict=True):
        assert (line.op, line.shape_in) == (type(op).__name__, list(x.shape))
        x = op.forward(x)
        assert line.shape_out == list(x.shape)
        held = [getattr(op, kind, {}) for kind in ("params", "grads", "buffers")]
        kept = [x, *(tensor for tensors in held for tensor in tensors.values())]
        assert line.memory == sum(t.element_size() * t.numel() for t in kept)
    assert made.total("params") == sum(
        t.numel() for op in leaf_ops(model) for t in getattr(op, "params", {}).values()
    )


@every_model
def test_multiply_adds_of_weights_are_half_the_flops_that_torch_counts(model, inputs):
    made = summary(model, inputs)
    products = [line for line in made.lines if "Linear" in line.op]
    x = next((t for t in state(model)), torch.empty(0)).new_zeros(made.inputs)
    with FlopCounterMode(display=False) as forward:
        outputs = model(x)
    assert forward.get_total_flops() == 2 * sum(line.forward for line in products)
    if all(line.op == "Linear" for line in products):  # the book's one has no dW in this test
        with FlopCounterMode(display=False) as backward:
            model.backward(torch.ones_like(outputs))
        linear = [op for op in leaf_ops(model) if isinstance(op, Linear)]
        by_hand = sum(op.inputs.numel() for op in linear if op.output_size == 1)  # g W^T
        told = backward.get_total_flops() + 2 * by_hand  # torch counts matrix products only
        assert told == 2 * sum(line.backward for line in products)


@every_model
def test_all_else_costs_one_for_each_element(model, inputs):
    for line in summary(model, inputs).lines:
        if "Linear" not in line.op:
            size = [torch.Size(shape).numel() for shape in (line.shape_out, line.shape_in)]
            assert [line.forward, line.backward] == size


@every_model
def test_a_summary_leaves_no_trace(model, inputs):
    def seen():
        return [
            (type(part), {k: id(v) for k, v in vars(part).items()}) for part in every_part(model)
        ]

    before, random = seen(), torch.get_rng_state()
    summary(model, inputs)
    assert seen() == before
    assert torch.equal(torch.get_rng_state(), random)


def test_formulas_come_from_the_first_line_of_a_docstring():
    assert formula_of(Logistic()) == "p = 1 / (1 + exp(-z)),  dp/dz = p (1 - p)"
    assert formula_of(Linear(1, 1)) == (
        "y = x W + b;  dL/dW = x^T g,  dL/db = sum_n g,  dL/dx = g W^T"
    )
    assert formula_of(Bare()) == formula_of(Mine()) == ""


def test_text_and_html_say_the_same():
    made = Model_MLP_L2(2, 5, 1).summary((640, 2))
    text, page = str(made), made._repr_html_()
    assert text.splitlines()[2:4] == [
        "fc1 (Linear)        [640, 2]  [640, 5]      15  12.9 kB    6,400    12,800",
        "  y = x W + b;  dL/dW = x^T g,  dL/db = sum_n g,  dL/dx = g W^T",
    ]
    for line in made.lines:
        assert all(f">{cell}</td>" in page for cell in (*line.cells(), line.formula))
    assert page.count("<tr>") == len(made.lines) + 2
    assert "inputs [640, 2]" in text
    assert "inputs [640, 2]" in page


def test_what_a_learner_called_an_op_is_no_html():
    class Odd(Bare):
        """y = x <script>."""

    assert "&lt;script&gt;" in Sequential(Odd()).summary(2)._repr_html_()


def test_an_op_that_runs_twice_costs_twice_and_one_that_does_not_nothing():
    class Twice(Sequential):
        def forward(self, inputs):
            return self.layers[0].forward(self.layers[0].forward(inputs))

    twice, never = Twice(Linear(3, 3), Linear(3, 3)).summary().lines
    assert (twice.forward, never.forward) == (18, 0)


def test_a_history_is_the_lists_of_a_runner_by_name():
    lists = [[0.5, 0.75, 0.75], [3.0, 1.0, 2.0], [0.25, 0.5, 0.125], [4.0, 5.0, 6.0]]
    history = History(*lists)
    assert list(history) == ["train_scores", "train_loss", "dev_scores", "dev_loss"]
    assert all(a is b for a, b in zip(history.values(), lists, strict=True))
    assert repr(history) == "<History of 3 epochs>"
    assert str(history).splitlines() == [
        "               first    last    best  in epoch",
        "train scores  0.5000  0.7500  0.7500         1",
        "train loss    3.0000  2.0000  1.0000         1",
        "dev scores    0.2500  0.1250  0.5000         1",
        "dev loss      4.0000  6.0000  4.0000         0",
    ]
    assert history._repr_html_().count("<tr>") == 5
    assert [axes.get_ylabel() for axes in history.curves().axes] == ["loss", "scores"]


def test_a_history_without_epochs_is_shown_too():
    assert str(History([], [], [], [])) == "  first  last  best  in epoch"
