"""Vocabularies, streams and checkpoints."""

from __future__ import annotations

import contextlib
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from tinygrad_seq import checkpoint
from tinygrad_seq.data import Streams, Vocabulary


def test_vocabulary_numbers_the_sorted_symbols_and_back() -> None:
    vocabulary = Vocabulary("banana\n")
    assert vocabulary.symbols == ["\n", "a", "b", "n"]
    np.testing.assert_array_equal(vocabulary.encode("nab"), [3, 1, 2])
    assert vocabulary.decode(vocabulary.encode("banana")) == "banana"


def test_unknown_symbols_are_named() -> None:
    with pytest.raises(ValueError, match=r"unknown symbols \['x', 'z'\]: the vocabulary has 2"):
        Vocabulary("ab").encode("abzx")


def test_streams_follow_on_and_targets_are_one_later() -> None:
    streams = Streams(np.arange(100), batch=3, length=4)
    assert streams.batches == 8
    (first, targets), (second, _) = streams[0], streams[1]
    assert first.shape == (4, 3)
    np.testing.assert_array_equal(targets, first + 1)
    np.testing.assert_array_equal(second[0], targets[-1])
    np.testing.assert_array_equal(streams[8][0], first)


def test_a_sequence_too_short_for_one_batch_is_refused() -> None:
    assert Streams(np.arange(13), batch=3, length=4).batches == 1
    with pytest.raises(ValueError, match="12 symbols is too short for 3 streams of 4"):
        Streams(np.arange(12), batch=3, length=4)


def test_a_checkpoint_gives_back_what_was_saved(tmp_path: Path) -> None:
    arrays = {"cell.W": np.arange(6, dtype=np.float32).reshape(2, 3), "steps": np.array(3), "empty": np.zeros((0, 2))}
    checkpoint.save(tmp_path / "a.npz", arrays, {"seed": 2**100, "name": "é"})
    found = checkpoint.load(tmp_path / "a.npz")
    assert found.config == {"seed": 2**100, "name": "é"}
    assert found.arrays.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found.arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(found.arrays[name], array)


def test_the_same_content_is_the_same_bytes(tmp_path: Path) -> None:
    for name in "ab":
        checkpoint.save(tmp_path / name, {"W": np.ones(3)}, {"x": 1})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_failure_while_saving_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    checkpoint.save(path, {"W": np.ones(3)}, {})
    before = path.read_bytes()

    def fail(file: object) -> None:
        raise RuntimeError("the disk is full")

    with pytest.raises(RuntimeError, match="disk"):
        checkpoint.write_whole(path, fail)
    with pytest.raises(TypeError):
        checkpoint.save(path, {}, {"not JSON": object()})
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.npz"]


def test_loading_executes_nothing(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "trapped"),)

    (tmp_path / "pickle").write_bytes(pickle.dumps(Trap()))
    np.savez(tmp_path / "object.npz", config=np.array(Trap(), dtype=object))
    for name in ("pickle", "object.npz"):
        with pytest.raises(ValueError, match="is not a checkpoint"):
            checkpoint.load(tmp_path / name)
    assert not (tmp_path / "trapped").exists()


def test_a_missing_foreign_or_damaged_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        checkpoint.load(tmp_path / "none")
    np.savez(tmp_path / "other.npz", a=np.ones(3))
    np.save(tmp_path / "array.npy", np.ones(3))
    checkpoint.save(tmp_path / "good.npz", {"W": np.ones(100)}, {})
    (tmp_path / "cut.npz").write_bytes((tmp_path / "good.npz").read_bytes()[:-40])
    for name in ("other.npz", "array.npy", "cut.npz"):
        with pytest.raises(ValueError, match=f"{name} is not a checkpoint"):
            checkpoint.load(tmp_path / name)


def test_arrays_of_objects_are_refused_before_anything_is_replaced(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "a.npz", {"W": np.ones(3)}, {"format": "mine"})
    with pytest.raises(TypeError, match="W has dtype object"):
        checkpoint.save(tmp_path / "a.npz", {"W": np.array([None])}, {})
    assert checkpoint.load(tmp_path / "a.npz").config == {"format": "mine"}


def test_no_damage_escapes_as_another_error(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "good.npz", {"W": np.arange(50.0), "b": np.ones(3)}, {"x": 1})
    good = (tmp_path / "good.npz").read_bytes()
    rng = np.random.default_rng(0)
    for at, bit in zip(rng.integers(0, len(good), 400), rng.integers(0, 8, 400), strict=True):
        (tmp_path / "bad.npz").write_bytes(good[:at] + bytes([good[at] ^ (1 << int(bit))]) + good[at + 1 :])
        with contextlib.suppress(ValueError):  # a bit in the padding harms nothing
            checkpoint.load(tmp_path / "bad.npz")


def test_streams_end_when_iterated_and_refuse_zeros() -> None:
    streams = Streams(np.arange(100), batch=3, length=4)
    assert len(list(streams)) == len(streams) == 8
    for batch, length in ((0, 4), (3, 0)):
        with pytest.raises(ValueError, match="above 0"):
            Streams(np.arange(100), batch, length)
