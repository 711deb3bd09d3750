import pytest

from fanin.errors import UnknownNameError
from fanin.graph import ROLES, Graph, Part, Use, role
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
        (["_weight_norm_interface"], "scale"),
        (["scaled_dot_product_attention"], "token"),
        (["index_put"], "token"),
        (["sigmoid"], "unknown"),
        ([], "unknown"),
    ],
)
def test_roles(ops, expected):
    assert role("parameter", [Use("w", op) for op in ops]) == expected
    assert expected in ROLES


def test_the_graph_knows_better_than_the_operation():
    assert role("parameter", [Use("w", "linear", role="attention key")]) == "attention key"
    assert role("parameter", [Use("w", "embedding", role="relative position")]) == "relative position"
    assert role("parameter", [Use("w", "embedding"), Use("w", "linear", role="head")]) == "embedding"


def test_blocks_of_different_roles_are_packed():
    parts = [(Part((row, 0), (2, 4)),) for row in (0, 2, 4)]
    key, value, other = (
        Use("w", "linear", role=role, parts=part)
        for role, part in zip(["attention key", "attention value", ""], parts, strict=True)
    )
    assert role("parameter", [key, value]) == "packed"
    assert role("parameter", [key, other]) == "packed"
    assert role("parameter", [key, Use("w", "linear", role="attention key", parts=parts[1])]) == "attention key"
    assert role("parameter", [other]) == "projection"


def test_a_buffer_is_a_buffer_whatever_uses_it():
    assert role("buffer", [Use("w", "linear")]) == "buffer"


def test_graph_finds_the_uses_of_a_tensor_in_order():
    graph = Graph((Use("a", "linear"), Use("b", "bias"), Use("a", "embedding")))
    assert [use.op for use in graph.of("a")] == ["linear", "embedding"]
    assert graph.of("c") == ()


def test_a_rule_for_a_role_that_does_not_exist():
    with pytest.raises(UnknownNameError, match="unknown role 'projektion'; did you mean 'projection'"):
        has_role("projektion")
