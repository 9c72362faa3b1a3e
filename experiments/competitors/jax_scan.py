"""JAX: the whole run, all epochs, as one jit-compiled lax.scan; the slopes are jax.grad's."""

from collections.abc import Callable
from typing import Any

from experiments.contest.problem import Histories, Problem, Unfit

try:
    import jax
    import jax.numpy as jnp
except ImportError as error:
    raise Unfit("JAX is not there: pip install 'opnet[jax]'") from error

jax.config.update("jax_platforms", "cpu")


def logits(problem: Problem, weights: Any, X: Any) -> Any:
    act = {"logistic": jax.nn.sigmoid, "relu": jax.nn.relu}[problem.case.activation]
    *hidden, (W, b) = weights
    for W_hidden, b_hidden in hidden:
        X = act(X @ W_hidden + b_hidden)
    return X @ W + b


def judged(problem: Problem, weights: Any, X: Any, y: Any) -> Any:
    z = logits(problem, weights, X)
    return jnp.mean(jax.nn.softplus(z) - y * z), jnp.mean((z >= 0) == (y >= 0.5))


def descend(lr: float, t: Any, w: Any, g: Any, memory: Any) -> Any:
    return w - lr * g, memory


def adam(lr: float, t: Any, w: Any, g: Any, memory: Any) -> Any:
    m, s = 0.9 * memory[0] + 0.1 * g, 0.999 * memory[1] + 0.001 * g * g
    step = m / (1 - 0.9**t) / (jnp.sqrt(s / (1 - 0.999**t)) + 1e-8)
    return w - lr * step, (m, s)


def updated(problem: Problem, state: Any, grads: Any) -> Any:
    """(weights, memory, number of steps) after one more."""
    weights, memory, t = state
    rule = {"BatchGD": descend, "Adam": adam}[problem.case.optimizer]
    leaves, tree = jax.tree.flatten(weights)
    moved = [
        rule(problem.case.lr, t + 1.0, w, g, kept)
        for w, g, kept in zip(leaves, jax.tree.leaves(grads), memory, strict=True)
    ]
    return jax.tree.unflatten(tree, [w for w, _ in moved]), [kept for _, kept in moved], t + 1.0


def train(problem: Problem) -> Callable[[], Histories]:
    slope = jax.value_and_grad(lambda w, X, y: judged(problem, w, X, y), has_aux=True)
    data = jax.device_put((problem.X, problem.y, problem.X_dev, problem.y_dev))
    orders, size = jnp.asarray(problem.orders), problem.case.batch_size

    def step(state: Any, batch: Any) -> Any:
        numbers, grads = slope(state[0], *batch)
        return updated(problem, state, grads), numbers

    @jax.jit
    def run(state: Any, X: Any, y: Any, X_dev: Any, y_dev: Any, orders: Any) -> Any:
        def epoch(state: Any, order: Any) -> Any:
            if size is None:
                state, (loss, score) = step(state, (X, y))
            else:
                batches = tuple(part[order].reshape(-1, size, part.shape[1]) for part in (X, y))
                state, numbers = jax.lax.scan(step, state, batches)
                loss, score = map(jnp.mean, numbers)
            return state, (loss, score, *judged(problem, state[0], X_dev, y_dev))

        length = problem.case.epochs
        return jax.lax.scan(epoch, state, None if size is None else orders, length=length)[1]

    weights = jax.device_put(problem.weights)
    kept = [(jnp.zeros_like(w), jnp.zeros_like(w)) for w in jax.tree.leaves(weights)]

    def trained() -> Histories:
        histories = run((weights, kept, jnp.float32(0)), *data, orders)
        return Histories(*(jax.device_get(history).tolist() for history in histories))

    return trained


def predict(problem: Problem) -> Callable[[], Any]:
    weights, X = jax.device_put((problem.weights, problem.X))
    run = jax.jit(lambda weights, X: jax.nn.sigmoid(logits(problem, weights, X)))
    return lambda: jax.block_until_ready(run(weights, X))
