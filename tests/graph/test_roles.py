import pytest

from fanin.errors import UnknownNameError
from fanin.graph import ROLES, Graph, Use, role
from fanin.recipes import has_role


@pytest.mark.parametrize(
    ("ops", "expected"),
    [
        (["linear"], "projection"),
        (["bilinear"], "projection"),
        (["conv"], "convolution"),
        (["conv_transpose"], "transposed convolution"),
        (["linear", "embedding"], "embedding"),
        (["bias"], "bias"),
        (["norm_scale"], "norm scale"),
        (["norm_shift"], "norm shift"),
        (["lstm"], "recurrent"),
        (["gru_cell"], "recurrent"),
        (["scale"], "scale"),
        (["position"], "position"),
        (["cat"], "token"),
        (["prelu"], "slope"),
        (["_weight_norm_interface"], "unknown"),
        ([], "unknown"),
    ],
)
def test_roles(ops, expected):
    assert role("parameter", [Use("w", op) for op in ops]) == expected
    assert expected in ROLES


def test_a_buffer_is_a_buffer_whatever_uses_it():
    assert role("buffer", [Use("w", "linear")]) == "buffer"


def test_graph_finds_the_uses_of_a_tensor_in_order():
    graph = Graph((Use("a", "linear"), Use("b", "bias"), Use("a", "embedding")))
    assert [use.op for use in graph.of("a")] == ["linear", "embedding"]
    assert graph.of("c") == ()


def test_a_rule_for_a_role_that_does_not_exist():
    with pytest.raises(UnknownNameError, match="unknown role 'projektion'; did you mean 'projection'"):
        has_role("projektion")
