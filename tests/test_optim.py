"""Optimisers and the clipping of gradients."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from tinygrad_seq import Tensor, nn, optim

Make = Callable[[list[Tensor]], optim.Optimizer]

OPTIMISERS: dict[str, Make] = {
    "SGD": lambda ps: optim.SGD(ps, lr=0.1),
    "SGD with momentum": lambda ps: optim.SGD(ps, lr=0.05, momentum=0.9),
    "RMSProp": lambda ps: optim.RMSProp(ps, lr=0.02, rho=0.9, eps=1e-6),
    "Adam": lambda ps: optim.Adam(ps, lr=0.1, betas=(0.8, 0.95), eps=1e-6),
}
each_optimiser = pytest.mark.parametrize("make", OPTIMISERS.values(), ids=list(OPTIMISERS))


def same(actual: Any, expected: Any) -> None:
    """Equal in every element, shape and dtype."""
    np.testing.assert_array_equal(actual, expected, strict=True)


def refused(kind: type[Exception], message: str) -> Any:
    return pytest.raises(kind, match=re.escape(message))


def parameter(*values: float, dtype: Any = None) -> Tensor:
    return Tensor(list(values), requires_grad=True, dtype=dtype)


# ---- the same recurrences by hand, on one number ---------------------------------------------------------------------------------------


def sgd(p: float, gradient: Callable[[float], float], momentum: float, lr: float) -> Iterator[float]:
    v = 0.0
    while True:
        v = momentum * v + gradient(p)
        p = p - lr * v
        yield p


def rmsprop(p: float, gradient: Callable[[float], float]) -> Iterator[float]:
    s = 0.0
    while True:
        g = gradient(p)
        s = 0.9 * s + (1 - 0.9) * g**2
        p = p - 0.02 * g / (math.sqrt(s) + 1e-6)
        yield p


def adam(p: float, gradient: Callable[[float], float]) -> Iterator[float]:
    m = s = 0.0
    t = 0
    while True:
        t += 1
        g = gradient(p)
        m = 0.8 * m + (1 - 0.8) * g
        s = 0.95 * s + (1 - 0.95) * g**2
        p = p - 0.1 * (m / (1 - 0.8**t)) / (math.sqrt(s / (1 - 0.95**t)) + 1e-6)
        yield p


BY_HAND: dict[str, Callable[[float, Callable[[float], float]], Iterator[float]]] = {
    "SGD": lambda p, gradient: sgd(p, gradient, 0.0, 0.1),
    "SGD with momentum": lambda p, gradient: sgd(p, gradient, 0.9, 0.05),
    "RMSProp": rmsprop,
    "Adam": adam,
}


@pytest.mark.parametrize("name", list(OPTIMISERS))
@pytest.mark.parametrize("scalar", [False, True], ids=["vector", "scalar"])
def test_five_steps_agree_with_the_recurrence_by_hand(name: str, scalar: bool) -> None:
    starts = [3.0] if scalar else [3.0, -0.5, 1e-3]
    p = Tensor(3.0, requires_grad=True) if scalar else parameter(*starts)
    optimiser = OPTIMISERS[name]([p])
    by_hand = [BY_HAND[name](start, lambda x: 4 * x**3 - 2 * x) for start in starts]
    for _ in range(5):
        optimiser.zero_grad()
        (p**4 - p**2).sum().backward()
        optimiser.step()
        expected = [next(one) for one in by_hand]
        np.testing.assert_allclose(p.data, expected[0] if scalar else expected, rtol=1e-12, atol=1e-12)
    assert optimiser.steps == 5


def test_the_defaults_are_those_of_the_papers() -> None:
    p = parameter(1.0)
    adam_, rmsprop_ = optim.Adam([p]), optim.RMSProp([p])
    assert (adam_.lr, adam_.betas, adam_.eps) == (1e-3, (0.9, 0.999), 1e-8)
    assert (rmsprop_.lr, rmsprop_.rho, rmsprop_.eps) == (1e-2, 0.99, 1e-8)
    assert optim.SGD([p], lr=1).momentum == 0


def test_the_first_step_of_adam_is_of_the_size_of_lr_whatever_the_gradient() -> None:
    p = parameter(1.0, 1.0, 1.0)
    p.grad = np.array([1e-3, 1.0, -1e3])
    optim.Adam([p], lr=0.01).step()
    np.testing.assert_allclose(p.data, [0.99, 0.99, 1.01], rtol=1e-6)


@each_optimiser
def test_a_quadratic_is_minimised(make: Make) -> None:
    p, target = parameter(3.0, -2.0), np.array([1.0, 0.5])
    optimiser = make([p])
    for t in range(600):
        optimiser.zero_grad()
        ((p - target) ** 2 * [1.0, 2.0]).sum().backward()
        optimiser.lr *= 0.99 if t > 300 else 1.0
        optimiser.step()
    np.testing.assert_allclose(p.data, target, atol=1e-2)


# ---- what step touches -----------------------------------------------------------------------------------------------------------------


@each_optimiser
def test_parameters_without_gradient_are_left_alone(make: Make) -> None:
    p, idle = parameter(1.0), parameter(2.0)
    optimiser = make([idle, p])
    before = idle.data
    for _ in range(3):
        p.grad = np.array([1.0])
        optimiser.step()
    assert idle.data is before
    assert p.item() < 1.0
    assert not any(array.any() for name, array in optimiser.state_dict().items() if name.startswith("0."))


@each_optimiser
def test_float32_is_kept_in_data_and_memories(make: Make) -> None:
    p = parameter(1.0, 2.0, dtype=np.float32)
    optimiser = make([p])
    for _ in range(3):
        p.grad = np.array([1.0, -1.0], np.float32)
        optimiser.step()
    assert p.dtype == np.float32
    assert all(array.dtype == np.float32 for name, array in optimiser.state_dict().items() if name != "steps")
    assert len(optimiser.state_dict()) > 1


@each_optimiser
def test_a_step_changes_neither_gradients_nor_arrays_that_were_there_before(make: Make) -> None:
    p = parameter(1.0, 2.0)
    optimiser, before = make([p]), p.data
    p.grad = np.array([1.0, -1.0])
    for _ in range(2):
        optimiser.step()
    same(p.grad, np.array([1.0, -1.0]))
    same(before, np.array([1.0, 2.0]))
    with pytest.raises(ValueError, match="read-only"):
        p.data[0] = 0


@each_optimiser
def test_a_step_between_forward_and_backward_does_not_change_the_gradient(make: Make) -> None:
    p = parameter(2.0, 3.0)
    loss = (p**2).sum()
    p.grad = np.array([1.0, 1.0])
    make([p]).step()
    p.grad = None
    loss.backward()
    same(p.grad, np.array([4.0, 6.0]))


def test_zero_grad_forgets_all_gradients() -> None:
    ps = [parameter(1.0), parameter(2.0)]
    optimiser = optim.SGD(ps, lr=1)
    for p in ps:
        p.grad = np.array([1.0])
    optimiser.zero_grad()
    assert [p.grad for p in ps] == [None, None]


def test_the_learning_rate_may_be_changed() -> None:
    p = parameter(1.0)
    p.grad = np.array([1.0])
    optimiser = optim.SGD(iter([p]), lr=0.5)
    optimiser.step()
    optimiser.lr = 0.25
    optimiser.step()
    same(p.data, np.array([0.25]))


@each_optimiser
def test_a_parameter_given_twice_is_stepped_once_or_refused(make: Make) -> None:
    p, alone = parameter(1.0), parameter(1.0)
    try:
        optimiser = make([p, p])
    except ValueError:
        return
    for one in (p, alone):
        one.grad = np.array([1.0])
    optimiser.step()
    make([alone]).step()
    same(p.data, alone.data)


# ---- state -----------------------------------------------------------------------------------------------------------------------------


def run(ps: list[Tensor], optimiser: optim.Optimizer, steps: int) -> None:
    for _ in range(steps):
        optimiser.zero_grad()
        ((ps[0] @ ps[1]) ** 2 + ps[1].sum()).sum().backward()
        optimiser.step()


def start() -> list[Tensor]:
    rng = np.random.default_rng(0)
    return [nn.xavier(rng, 3, 4), nn.xavier(rng, 4, 2)]


@each_optimiser
def test_training_goes_on_exactly_after_reloading_into_a_new_optimiser(make: Make) -> None:
    straight = start()
    run(straight, make(straight), 7)
    first = start()
    before = make(first)
    run(first, before, 4)
    state = before.state_dict()
    saved = {name: array.tobytes() for name, array in state.items()}
    second = [Tensor(p.data, requires_grad=True) for p in first]
    after = make(second)
    after.load_state_dict(state)
    assert after.steps == 4
    run(second, after, 3)
    assert [p.data.tobytes() for p in second] == [p.data.tobytes() for p in straight]
    run(first, before, 1)  # neither optimiser writes into the state
    assert {name: array.tobytes() for name, array in state.items()} == saved


def test_a_wrong_state_is_refused_with_all_its_faults_and_changes_nothing() -> None:
    p = parameter(1.0, 2.0)
    optimiser = optim.Adam([p])
    p.grad = np.array([1.0, 1.0])
    optimiser.step()
    before = {name: array.copy() for name, array in optimiser.state_dict().items()}
    wrong = {"steps": np.array(9), "0.m": np.ones(3), "1.m": np.ones(2)}
    expected = "load_state_dict: this state is not one of this Adam: missing 0.s; unexpected 1.m; 0.m is (3,), expected (2,)."
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        optimiser.load_state_dict(wrong)
    assert optimiser.steps == 1
    for name, array in optimiser.state_dict().items():
        same(array, before[name])


# ---- errors ----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [optim.SGD, optim.RMSProp, optim.Adam])
def test_an_optimiser_needs_parameters_and_a_positive_learning_rate(kind: Any) -> None:
    with refused(ValueError, f"{kind.__name__}: got no parameters that require gradients."):
        kind([], lr=0.1)
    for lr in (0, -0.1, float("nan")):
        with refused(ValueError, f"{kind.__name__}: lr={lr}, expected a positive number."):
            kind([parameter(1.0)], lr=lr)


def test_an_optimiser_without_update_says_so() -> None:
    class Mine(optim.Optimizer):
        pass

    p = parameter(1.0)
    p.grad = np.array([1.0])
    with refused(NotImplementedError, "Mine has no update method; write one."):
        Mine([p], lr=1).step()


def test_an_optimiser_of_ones_own_needs_an_update_alone() -> None:
    class Signs(optim.Optimizer):
        memories = ("count",)

        def update(self, g: Any, **memory: Any) -> Any:
            memory["count"] += 1
            return self.lr * np.sign(g)

    p = parameter(1.0, 2.0)
    p.grad = np.array([5.0, -5.0])
    optimiser = Signs([p], lr=0.5)
    optimiser.step()
    same(p.data, np.array([0.5, 2.5]))
    same(optimiser.state_dict()["0.count"], np.array([1.0, 1.0]))


# ---- clipping --------------------------------------------------------------------------------------------------------------------------


def with_gradients(*gradients: Any) -> list[Tensor]:
    ps = []
    for gradient in gradients:
        array = np.asarray(gradient)
        p = Tensor(np.zeros(array.shape, array.dtype), requires_grad=True)
        p.grad = array
        ps.append(p)
    return ps


def test_clip_grad_norm_gives_the_joint_norm_before_and_keeps_the_direction() -> None:
    a, b = with_gradients([3.0, 0.0], [[0.0], [4.0]])
    idle = parameter(1.0)
    assert optim.clip_grad_norm(iter([a, idle, b]), 1.0) == 5.0
    scale = 1.0 / (5.0 + 1e-6)
    np.testing.assert_allclose(a.grad, [3 * scale, 0.0], rtol=1e-15)  # type: ignore[arg-type]
    np.testing.assert_allclose(b.grad, [[0.0], [4 * scale]], rtol=1e-15)  # type: ignore[arg-type]
    assert idle.grad is None


@pytest.mark.parametrize("max_norm", [5.0001, 6.0, math.inf])
def test_clip_grad_norm_leaves_small_gradients_untouched(max_norm: float) -> None:
    (p,) = with_gradients([3.0, 4.0])
    before = p.grad
    assert optim.clip_grad_norm([p], max_norm) == 5.0
    assert p.grad is before
    same(p.grad, np.array([3.0, 4.0]))


def test_clip_grad_norm_of_no_gradients_is_0() -> None:
    assert optim.clip_grad_norm([parameter(1.0)], 1.0) == 0.0


def test_clipping_does_not_write_into_the_arrays_that_it_is_given() -> None:
    for clip in (optim.clip_grad_norm, optim.clip_grad_value):
        (p,) = with_gradients([3.0, 4.0])
        before = p.grad
        clip([p], 1.0)
        same(before, np.array([3.0, 4.0]))


@pytest.mark.parametrize("size", [10.0, 1e30, 1e38])
def test_clip_grad_norm_does_not_overflow_in_float32(size: float) -> None:
    a, b = with_gradients(np.array([3 * size / 5, 0], np.float32), np.array([4 * size / 5], np.float32))
    norm = optim.clip_grad_norm([a, b], size / 2)
    np.testing.assert_allclose(norm, size, rtol=1e-6)
    assert a.grad is not None
    assert b.grad is not None
    assert a.grad.dtype == b.grad.dtype == np.float32
    np.testing.assert_allclose([*a.grad, *b.grad], [0.3 * size, 0, 0.4 * size], rtol=1e-6)


def test_clip_grad_norm_brings_float32_gradients_of_1e30_down_to_1() -> None:
    (p,) = with_gradients(np.array([3e30, -4e30], np.float32))
    optim.clip_grad_norm([p], 1.0)
    np.testing.assert_allclose(p.grad, [0.6, -0.8], rtol=1e-6)  # type: ignore[arg-type]


def test_clipping_keeps_float32_also_where_the_limit_is_a_numpy_number() -> None:
    for clip in (optim.clip_grad_norm, optim.clip_grad_value):
        (p,) = with_gradients(np.array([3.0, 4.0], np.float32))
        clip([p], np.float64(1.0))
        assert p.grad is not None
        assert p.grad.dtype == np.float32


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_clip_grad_norm_refuses_gradients_that_are_not_finite_and_leaves_them(bad: float) -> None:
    a, b = with_gradients([1.0, bad], [30.0])
    with refused(FloatingPointError, f"clip_grad_norm: the norm of the gradient is {abs(bad)}: the training has diverged."):
        optim.clip_grad_norm([b, a], 1.0)
    same(b.grad, np.array([30.0]))


def test_clip_grad_value_clips_each_element() -> None:
    a, b = with_gradients([3.0, -0.5, -4.0], np.array([0.25, 7.0], np.float32))
    idle = parameter(1.0)
    optim.clip_grad_value(iter([a, idle, b]), 1.0)
    same(a.grad, np.array([1.0, -0.5, -1.0]))
    same(b.grad, np.array([0.25, 1.0], np.float32))
    assert idle.grad is None


@pytest.mark.parametrize("clip", [optim.clip_grad_norm, optim.clip_grad_value])
@pytest.mark.parametrize("limit", [0, -1.0, math.nan])
def test_clipping_needs_a_positive_limit(clip: Callable[..., Any], limit: float) -> None:
    with pytest.raises(ValueError, match=rf"^{clip.__name__}: max_(norm|value)={limit}, expected a positive number\.$"):
        clip(with_gradients([1.0]), limit)


@pytest.mark.parametrize("wrong", [lambda w: [w * 2], lambda w: [np.ones(2)], lambda w: w * 2], ids=["made", "array", "not a list"])
def test_what_could_never_move_is_refused(wrong: Any) -> None:
    w = Tensor([3.0, 4.0], requires_grad=True)
    for use in (lambda ps: optim.SGD(ps, 0.1), lambda ps: optim.clip_grad_norm(ps, 1.0), lambda ps: optim.clip_grad_value(ps, 1.0)):
        with pytest.raises(TypeError, match=r"parameters\[0\] is .*, expected a leaf Tensor"):
            use(wrong(w))
    with pytest.raises(ValueError, match="no parameters that require gradients"):
        optim.SGD([Tensor([1.0])], 0.1)


def test_a_single_tensor_is_a_list_of_one() -> None:
    w = Tensor([3.0, 4.0], requires_grad=True)
    (w * w).sum().backward()
    assert optim.clip_grad_norm(w, 1.0) == 10.0
    np.testing.assert_allclose(w.grad, [0.6, 0.8], rtol=1e-6)
