"""Messages say what is wrong and what to do."""

import pytest

from fanin import errors


def test_every_error_is_a_fanin_error():
    classes = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, Exception)]
    assert len(classes) == 11
    assert all(issubclass(c, errors.FaninError) for c in classes)
    tree = errors.__doc__ or ""
    assert all(c.__name__ in tree for c in classes)


@pytest.mark.parametrize(
    ("error", "base"),
    [
        (errors.ArgumentError, ValueError),
        (errors.UnknownNameError, LookupError),
        (errors.MissingExtraError, ImportError),
    ],
)
def test_errors_are_also_what_python_expects(error, base):
    assert issubclass(error, base)


def test_unknown_names_come_with_suggestions():
    error = errors.UnknownNameError.among("model", "mnist-fcc", ["mnist-fc", "mlp"])
    assert str(error) == "unknown model 'mnist-fcc'; did you mean 'mnist-fc'? Known: mlp, mnist-fc."
    assert str(errors.UnknownNameError.among("model", "zzz", ["mlp"])) == "unknown model 'zzz'. Known: mlp."


def test_weights_errors_carry_path_and_offset(tmp_path):
    error = errors.WeightsError("wrong magic b'abcd'", path=tmp_path / "x.gguf", offset=4)
    assert str(error) == f"{tmp_path / 'x.gguf'}: wrong magic b'abcd' (at byte 4)"
    assert (error.path, error.offset) == (tmp_path / "x.gguf", 4)


def test_long_lists_of_names_are_cut():
    text = str(errors.UnknownNameError.among("tensor", "x", [f"layer.{number}" for number in range(300)]))
    assert text.endswith(" and 240 more.")
    assert len(text) < 800
