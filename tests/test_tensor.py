"""Tensor: NumPy's face on the record."""

from __future__ import annotations

import copy
import operator
import pickle
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tinygrad_seq import Tensor, grad, no_grad

Array = np.ndarray[Any, np.dtype[Any]]


def leaf(*values: float, dtype: Any = None) -> Tensor:
    return Tensor(list(values), requires_grad=True, dtype=dtype)


def matrix() -> Tensor:
    """((0, 1, 2), (3, 4, 5)), with gradients."""
    return Tensor(np.arange(6.0).reshape(2, 3), requires_grad=True)


def same(actual: Any, expected: Any) -> None:
    """Equal in every element, shape and dtype."""
    np.testing.assert_array_equal(actual, expected, strict=True)


def refused(kind: type[Exception], message: str) -> Any:
    return pytest.raises(kind, match=re.escape(message))


# ---- making one ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "dtype", "expected"),
    [
        ([1.0, 2.0], None, "float64"),
        ([1, 2.5], None, "float64"),
        ([1, 2], None, "int64"),
        (3, None, "int64"),
        (3.0, None, "float64"),
        (True, None, "bool"),
        (1j, None, "complex128"),
        (np.ones(2, np.float32), None, "float32"),
        (np.ones(2, np.float16), None, "float16"),
        (np.ones(2, np.uint8), None, "uint8"),
        (np.float32(1), None, "float32"),
        ([1, 2], np.float32, "float32"),
        (np.ones(2), "float32", "float32"),
        ([1, 2], float, "float64"),
        (Tensor(np.ones(2, np.float32)), None, "float32"),
        (Tensor(np.ones(2, np.float32)), float, "float64"),
    ],
)
def test_dtype_of_a_new_tensor(data: Any, dtype: Any, expected: str) -> None:
    assert Tensor(data, dtype=dtype).dtype == np.dtype(expected)


@pytest.mark.parametrize("dtype", [None, np.float64])
def test_a_tensor_copies_the_array_that_it_is_made_from(dtype: Any) -> None:
    base = np.array([[1.0, 2.0], [3.0, 4.0]])
    tensors = [Tensor(view, dtype=dtype) for view in (base, base[:], base.T.T, np.broadcast_to(base, (2, 2)))]
    base[:] = 0
    for x in tensors:
        same(x.numpy(), np.array([[1.0, 2.0], [3.0, 4.0]]))
    assert base.flags.writeable


def test_a_tensor_of_a_tensor_has_its_numbers_and_not_its_history() -> None:
    x = leaf(1.0, 2.0)
    y = Tensor(x * 2)
    same(y.numpy(), np.array([2.0, 4.0]))
    assert not y.requires_grad


@pytest.mark.parametrize("data", ["abc", ["a", "b"], None, {}, [None, 1.0], [[1.0], [1.0, 2.0]], [1, [2]], object()], ids=repr)
def test_what_is_not_numbers_in_equal_rows_is_a_type_error(data: Any) -> None:
    if type(data) is object:
        data = [data]
    with refused(TypeError, f"Tensor: got a {type(data).__name__} that"):
        Tensor(data)


def test_a_list_of_tensors_is_refused_with_a_hint() -> None:
    with refused(TypeError, "would lose its record"):
        Tensor([leaf(1.0), leaf(2.0)])


# ---- what it holds ---------------------------------------------------------------------------------------------------------------------


def test_shape_ndim_size_dtype_len_and_T() -> None:
    x = Tensor(np.arange(6, dtype=np.float32).reshape(1, 2, 3))
    assert (x.shape, x.ndim, x.size, x.dtype, len(x)) == ((1, 2, 3), 3, 6, np.dtype(np.float32), 1)
    assert x.T.shape == (3, 2, 1)
    same(x.T.numpy(), x.numpy().T)
    number = Tensor(1.0)
    assert (number.shape, number.ndim, number.size, number.T.shape) == ((), 0, 1, ())


def test_iteration_gives_recorded_rows() -> None:
    x = matrix()
    rows = list(x)
    assert len(rows) == 2
    same(rows[1].numpy(), np.array([3.0, 4.0, 5.0]))
    (rows[1] * rows[1]).sum().backward()
    same(x.grad, np.array([[0.0, 0, 0], [6, 8, 10]]))
    a, b = x
    same((a + b).numpy(), np.array([3.0, 5.0, 7.0]))


def test_a_tensor_of_no_axes_has_neither_elements_nor_a_length() -> None:
    with refused(TypeError, "a tensor of shape () has no elements to iterate over."):
        iter(Tensor(1.0))
    with pytest.raises(TypeError, match="len"):
        len(Tensor(1.0))


def test_conversions_to_python_numbers_and_lists() -> None:
    x = leaf(2.5)
    assert (x.item(), float(x), int(x), bool(x), x.tolist()) == (2.5, 2.5, 2, True, [2.5])
    assert type(x.item()) is float
    assert type(Tensor(3).item()) is int
    assert type(float(Tensor(3))) is float
    assert bool(Tensor(0.0)) is False
    assert matrix().tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
    assert Tensor(1.5).tolist() == 1.5
    assert Tensor([1, 2]).tolist() == [1, 2]


@pytest.mark.parametrize("convert", [float, int, Tensor.item])
def test_a_tensor_of_several_elements_is_not_a_number(convert: Callable[[Tensor], Any]) -> None:
    with refused(ValueError, "item: a tensor of shape (2, 3) is not a single number."):
        convert(matrix())


def test_a_tensor_of_several_elements_is_neither_true_nor_false() -> None:
    with pytest.raises(ValueError, match="ambiguous"):
        bool(matrix())


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Tensor([1.0, 2.5]), "Tensor([1. , 2.5])"),
        (lambda: leaf(1.0, 2.0), "Tensor([1., 2.], requires_grad=True)"),
        (lambda: Tensor(1.5), "Tensor(1.5)"),
        (lambda: Tensor([1, 2]), "Tensor([1, 2])"),
        (lambda: Tensor([True, False]), "Tensor([ True, False])"),
        (lambda: leaf(1.0, dtype=np.float32), "Tensor([1.], dtype=float32, requires_grad=True)"),
        (lambda: Tensor([1.0], name="h"), "Tensor([1.], name='h')"),
        (lambda: Tensor(1j), "Tensor(0.+1.j, dtype=complex128)"),
        (lambda: matrix() * 2, "Tensor([[ 0.,  2.,  4.],\n        [ 6.,  8., 10.]], op=mul)"),
        (lambda: leaf(1.0, dtype=np.float32).sum(), "Tensor(1., dtype=float32, op=sum)"),
        (lambda: Tensor(np.zeros(201)), "Tensor([0., 0., 0., ..., 0., 0., 0.])"),
    ],
)
def test_repr(make: Callable[[], Tensor], text: str) -> None:
    assert repr(make()) == text


def test_a_name_may_be_given_later() -> None:
    y = leaf(1.0) * 2
    assert y.name is None
    y.name = "y"
    assert repr(y) == "Tensor([2.], name='y', op=mul)"


# ---- comparisons -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compare", [operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne])
def test_comparisons_give_plain_arrays_of_booleans(compare: Callable[[Any, Any], Any]) -> None:
    a, b = np.array([1.0, 2.0, 3.0]), np.array([3.0, 2.0, 1.0])
    for left, right in [(Tensor(a), Tensor(b)), (Tensor(a), b), (a, Tensor(b)), (Tensor(a), [3.0, 2.0, 1.0])]:
        result = compare(left, right)
        assert type(result) is np.ndarray
        same(result, compare(a, b))
    for left, right in [(Tensor(a), 2), (Tensor(a), np.float64(2))]:
        same(compare(left, right), compare(a, 2))
        same(compare(right, left), compare(2, a))


def test_a_tensor_is_hashed_by_identity() -> None:
    x, z = leaf(1.0), leaf(1.0)
    assert {x: "x", z: "z"}[x] == "x"
    assert len({x, z, x}) == 2


# ---- operators -------------------------------------------------------------------------------------------------------------------------

OPERATORS = [operator.add, operator.sub, operator.mul, operator.truediv, operator.pow]


@pytest.mark.parametrize("operate", OPERATORS)
@pytest.mark.parametrize(
    "other", [3, 2.5, True, np.float64(2.5), np.float32(2.5), np.int64(3), np.array([2.0, 5.0]), np.array(2.5), [2.0, 5.0]], ids=repr
)
def test_operators_with_scalars_and_arrays_on_either_side_give_a_recorded_tensor(operate: Callable[[Any, Any], Any], other: Any) -> None:
    values = np.array([1.5, 2.0])
    x, plain = leaf(*values), np.asarray(other) if isinstance(other, list) else other
    for result, expected in [(operate(x, other), operate(values, plain)), (operate(other, x), operate(plain, values))]:
        assert type(result) is Tensor
        assert result.requires_grad
        same(result.numpy(), expected)
        assert grad(result.sum(), x).shape == (2,)


@pytest.mark.parametrize("operate", OPERATORS)
def test_operators_between_tensors_give_a_recorded_tensor(operate: Callable[[Any, Any], Any]) -> None:
    a, b = leaf(1.5, 2.0), leaf(2.0, 3.0)
    result = operate(a, b)
    assert type(result) is Tensor
    same(result.numpy(), operate(a.data, b.data))


def test_matmul_operator_takes_arrays_on_either_side() -> None:
    x = matrix()
    a: Any = np.ones((3, 2))
    same((x @ a).numpy(), x.data @ a)
    same((a @ x).numpy(), a @ x.data)
    same((x @ [1.0, 2.0, 3.0]).numpy(), np.array([8.0, 26.0]))
    same(grad((a @ x).sum(), x), np.full((2, 3), 3.0))


def test_unary_operators() -> None:
    x = leaf(-1.0, 2.0)
    same((-x).numpy(), np.array([1.0, -2.0]))
    same((+x).numpy(), np.array([-1.0, 2.0]))
    same(abs(x).numpy(), np.array([1.0, 2.0]))


def test_float32_is_kept_next_to_python_scalars_and_not_next_to_float64_scalars() -> None:
    x = leaf(1.0, 2.0, dtype=np.float32)
    for y in (x + 1, 1.5 - x, x * 2.0, 2 / x, x**2, 2.0**x, x * True, -x):
        assert y.dtype == np.float32
    assert (x * np.float64(2)).dtype == np.float64
    assert (np.float64(2) * x).dtype == np.float64


def test_adding_in_place_makes_a_new_tensor_and_leaves_the_old_one() -> None:
    x = leaf(1.0, 2.0)
    y = x
    y += 1
    assert y is not x
    same(x.numpy(), np.array([1.0, 2.0]))
    same(y.numpy(), np.array([2.0, 3.0]))


# ---- what NumPy is told ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "function",
    [
        *[np.sum, np.mean, np.tanh, np.exp, np.asarray, np.array, np.zeros_like, np.isnan, np.linalg.norm],
        *[lambda x: np.concatenate([x, x]), lambda x: np.stack([x, np.ones(2)]), lambda x: np.where(x > 1, x, 0)],
        *[lambda x: np.add(1, x), lambda x: np.array([x, x]), lambda x: np.matmul(np.ones(2), x)],
    ],
)
def test_numpy_functions_refuse_a_tensor_and_say_what_to_do(function: Callable[[Any], Any]) -> None:
    for x in (leaf(1.0, 2.0), leaf(1.0, 2.0) * 2, Tensor([1.0, 2.0])):
        with refused(TypeError, "Use the function or method of that name of tinygrad_seq, or x.numpy() for the plain array."):
            function(x)


def test_a_refusal_names_the_numpy_function() -> None:
    with refused(TypeError, "np.concatenate was given a Tensor and would lose its record."):
        np.concatenate([leaf(1.0), leaf(2.0)])


def test_a_tensor_cannot_be_written_into() -> None:
    t = leaf(1.0, 2.0)
    with refused(TypeError, "a Tensor cannot be written into, since gradients need the values that it had."):
        t[0] = 1
    same(t.numpy(), np.array([1.0, 2.0]))


# ---- copies ----------------------------------------------------------------------------------------------------------------------------

COPIES: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda x: pickle.loads(pickle.dumps(x)),
    "old pickle": lambda x: pickle.loads(pickle.dumps(x, protocol=0)),
}


@pytest.mark.parametrize("duplicate", COPIES.values(), ids=list(COPIES))
def test_a_copied_leaf_is_a_tensor_of_its_own(duplicate: Callable[[Any], Any]) -> None:
    x = Tensor(np.array([1.0, 2.0], np.float32), requires_grad=True, name="x")
    twin = duplicate(x)
    assert type(twin) is Tensor
    assert (twin.requires_grad, twin.name, twin.grad) == (True, "x", None)
    same(twin.numpy(), x.numpy())
    (x * 3 + twin * 5 + x * twin).sum().backward()
    same(x.grad, np.array([4.0, 5.0], np.float32))
    same(twin.grad, np.array([6.0, 7.0], np.float32))
    assert x.grad is not None
    assert not np.shares_memory(x.grad, twin.grad)
    twin.data = np.array([9.0, 9.0])
    same(x.numpy(), np.array([1.0, 2.0], np.float32))
    with pytest.raises(ValueError, match="read-only"):
        twin.data[0] = 1


@pytest.mark.parametrize("duplicate", COPIES.values(), ids=list(COPIES))
def test_results_of_grad_tell_a_leaf_from_its_copy(duplicate: Callable[[Any], Any]) -> None:
    x = leaf(1.0, 2.0)
    twin = duplicate(x)
    at_x, at_twin = grad((x * 3 + twin * 5).sum(), [x, twin])
    same(at_x, np.array([3.0, 3.0]))
    same(at_twin, np.array([5.0, 5.0]))


@pytest.mark.parametrize("duplicate", COPIES.values(), ids=list(COPIES))
def test_what_an_op_made_is_not_copied(duplicate: Callable[[Any], Any]) -> None:
    with refused(TypeError, "only a leaf can be copied or pickled; this tensor was made by mul. Use detach() first."):
        duplicate(leaf(1.0) * 2)
    same(duplicate((leaf(1.0) * 2).detach()).numpy(), np.array([2.0]))


def test_a_deep_copy_keeps_tied_tensors_tied() -> None:
    x = leaf(1.0)
    a, b = copy.deepcopy([x, x])
    assert a is b
    assert a is not x


# ---- indexing --------------------------------------------------------------------------------------------------------------------------

INDICES: dict[str, Any] = {
    "int": 1,
    "negative int": -1,
    "NumPy int": np.int64(1),
    "slice": slice(1, None),
    "negative step": slice(None, None, -1),
    "negative step of two": slice(None, None, -2),
    "empty slice": slice(1, 1),
    "None": None,
    "Ellipsis": ...,
    "nothing": (),
    "list": [0, 1],
    "list with duplicates": [1, 0, 1, 1],
    "negative list": [-1, 0, -2],
    "empty list": [],
    "array": np.array([[0, 1], [1, 1]]),
    "array of no axes": np.array(1),
    "list of bools": [True, False],
    "mask": np.array([False, True]),
    "full mask": np.arange(6).reshape(2, 3) % 2 == 0,
    "tuple of ints": (1, -2),
    "column": (slice(None), 1),
    "None in between": (slice(None), None, 1),
    "Ellipsis and int": (..., 0),
    "Ellipsis and negative step": (..., slice(None, None, -1)),
    "two lists": ([0, 1, 0], [2, 2, 2]),
    "slice and list": (slice(None), [2, 0, 2]),
    "slice and array": (slice(None, None, -1), np.array([2, 0, 2])),
    "list and slice": ([1, 1], slice(0, 2)),
    "Ellipsis and list": (..., [0, 0]),
    "None and list": (None, [0, 0]),
    "int and list": (1, [2, 2, 0]),
    "mask and list": (np.array([True, False]), [1]),
    "list and None": ([1, 0], None, slice(1)),
}


@pytest.mark.parametrize("index", INDICES.values(), ids=list(INDICES))
def test_indexing_is_that_of_numpy_and_its_gradient_counts_each_element(index: Any) -> None:
    x = matrix()
    y = x[index]
    picked = x.data[index]
    same(y.numpy(), np.asarray(picked))
    weights = np.arange(1.0, 1 + np.size(picked)).reshape(np.shape(picked))
    expected = np.zeros((2, 3))
    np.add.at(expected, index, weights)
    same(grad(y, x, gradient=weights), expected)
    same(grad((y * weights + x[index] * 0).sum(), x), expected)
    same(grad(y, x, gradient=weights, create_graph=True).numpy(), expected)


@pytest.mark.parametrize("index", [[0, 1, 1], [-1, 0], [[0, 1], [1, 1]], 1, [True, False]], ids=str)
def test_indexing_with_a_tensor_is_indexing_with_its_numbers(index: Any) -> None:
    x = matrix()
    same(x[Tensor(index)].numpy(), x.data[np.array(index)])
    same(x[Tensor(index), 1].numpy(), x.data[np.array(index), 1])
    same(x[:, Tensor([0, 0])].numpy(), x.data[:, [0, 0]])


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int32, np.uint64])
def test_small_integers_index_long_tensors(dtype: Any) -> None:
    x = Tensor(np.arange(300.0), requires_grad=True)
    index = np.array([1, 100, 1, 127], dtype)
    expected = np.zeros(300)
    expected[[1, 100, 127]] = [2, 1, 1]
    same(grad(x[index].sum(), x), expected)
    same(grad(x[Tensor(index)].sum(), x, create_graph=True).numpy(), expected)


@pytest.mark.parametrize("index", [2, -3, [0, 2], (0, 3), (0, 0, 0), "a", 1.0, np.array([0.5]), (slice(None), [3])], ids=repr)
def test_an_index_that_is_out_of_range_or_none_is_an_index_error(index: Any) -> None:
    with pytest.raises(IndexError, match=r"^getitem: \(2, 3\), index="):
        matrix()[index]


# ---- shapes ----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(3, 2), (6,), (-1,), (3, -1), (1, 2, 3, 1)])
def test_reshape_takes_sizes_a_tuple_or_a_list(shape: tuple[int, ...]) -> None:
    x = matrix()
    expected = x.data.reshape(shape)
    for y in (x.reshape(*shape), x.reshape(shape), x.reshape(list(shape)), x.reshape(*map(np.int64, shape))):
        same(y.numpy(), expected)
        same(grad(y, x, gradient=expected), x.data)


def test_reshape_to_no_axes() -> None:
    x = leaf(2.0)
    for y in (x.reshape(()), x.reshape([]), x.reshape()):
        same(y.numpy(), np.array(2.0))
        same(grad(y, x), np.array([1.0]))


def test_transpose_takes_axes_a_tuple_a_list_or_nothing() -> None:
    x = Tensor(np.arange(24.0).reshape(2, 3, 4), requires_grad=True)
    rotated = np.transpose(x.data, (1, 2, 0))
    for y in (x.transpose(1, 2, 0), x.transpose((1, 2, 0)), x.transpose([1, 2, 0]), x.transpose(-2, -1, -3)):
        same(y.numpy(), rotated)
        same(grad(y, x, gradient=rotated), x.data)
    for y in (x.transpose(), x.transpose(None), x.T):
        same(y.numpy(), x.data.T)
        same(grad(y, x, gradient=x.data.T), x.data)
    same(x.swapaxes(0, -1).numpy(), np.swapaxes(x.data, 0, -1))


@pytest.mark.parametrize("dtype", [np.float32, "float32", np.dtype(np.float32)], ids=["type", "name", "dtype"])
def test_astype_gives_back_a_gradient_in_the_own_dtype(dtype: Any) -> None:
    x = leaf(1.0, 2.0)
    y = x.astype(dtype)
    assert y.dtype == np.float32
    same(grad((y * y).sum(), x), np.array([2.0, 4.0]))


def test_methods_are_recorded() -> None:
    x = leaf(1.0, 4.0)
    for y, expected in [
        (x.exp(), np.exp(x.data)),
        (x.log(), np.log(x.data)),
        (x.sqrt(), np.sqrt(x.data)),
        (x.tanh(), np.tanh(x.data)),
        (x.sigmoid(), 1 / (1 + np.exp(-x.data))),
        (x.relu(), x.data),
        (x.abs(), x.data),
        (x.sum(), np.array(5.0)),
        (x.mean(axis=0, keepdims=True), np.array([2.5])),
        (x.max(axis=0), np.array(4.0)),
        (x.min(axis=0), np.array(1.0)),
    ]:
        assert y.requires_grad
        assert y.shape == expected.shape
        np.testing.assert_allclose(y.numpy(), expected, rtol=1e-14)
    with no_grad():
        assert not x.exp().requires_grad


# ---- errors of shapes and types --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ((2, 3), (4, 5), "matmul: (2, 3) @ (4, 5): inner sizes 3 and 4 differ."),
        ((3,), (4,), "matmul: (3,) @ (4,): inner sizes 3 and 4 differ."),
        ((2, 2, 3), (4, 5), "matmul: (2, 2, 3) @ (4, 5): inner sizes 3 and 4 differ."),
        ((2, 3), (4,), "matmul: (2, 3) @ (4,): inner sizes 3 and 4 differ."),
        ((2, 2, 3), (3, 3, 3), "matmul: (2, 2, 3) @ (3, 3, 3): batch shapes (2,) and (3,) do not broadcast."),
        ((), (3,), "matmul: () @ (3,): a scalar has no matrix product; multiply with *."),
    ],
)
def test_matmul_says_which_sizes_do_not_fit(a: tuple[int, ...], b: tuple[int, ...], message: str) -> None:
    for left, right in [(Tensor(np.ones(a)), Tensor(np.ones(b))), (Tensor(np.ones(a)), np.ones(b))]:
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            left @ right


def test_matmul_with_a_python_number_is_refused_like_a_scalar() -> None:
    with refused(ValueError, "a scalar has no matrix product; multiply with *."):
        matrix() @ 2
    with refused(ValueError, "a scalar has no matrix product; multiply with *."):
        2 @ matrix()


@pytest.mark.parametrize(("name", "operate"), [("add", operator.add), ("mul", operator.mul), ("sub", operator.sub), ("pow", operator.pow)])
def test_shapes_that_do_not_broadcast_are_named(name: str, operate: Callable[[Any, Any], Any]) -> None:
    expected = f"{name}: (2, 3), (2,): these shapes do not broadcast; from the right, each pair of sizes must be equal or hold a 1."
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        operate(matrix(), np.ones(2))


def test_a_string_as_operand_is_a_type_error_that_names_the_op() -> None:
    with refused(TypeError, "add: (2, 3), "):
        matrix() + "a"


def test_a_reshape_that_does_not_fit_is_named() -> None:
    with refused(ValueError, "reshape: (2, 3), shape=(4,): cannot reshape"):
        matrix().reshape(4)


def test_an_axis_that_does_not_exist_is_named() -> None:
    with refused(IndexError, "sum: (2, 3), axis=5"):
        matrix().sum(axis=5)
