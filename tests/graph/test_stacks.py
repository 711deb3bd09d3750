import pytest

from fanin.graph.stacks import Stacks


def lists(**sizes):
    """Containers of equal blocks by path ("__" for a dot), or of the classes named."""
    return {
        path.replace("__", "."): {
            str(n): kind for n, kind in enumerate(size.split() if isinstance(size, str) else ["Block"] * size)
        }
        for path, size in sizes.items()
    }


@pytest.mark.parametrize(
    ("containers", "module", "expected"),
    [
        (lists(h=2), "h.1.attn", ("h", "h.1")),
        # A list of different parts within a block is none; so is a list of experts.
        (lists(block=2, block__0__layer="Self FF", block__1__layer="Self FF"), "block.1.layer.0", ("block", "block.1")),
        (lists(layers=2, layers__0__experts=4), "layers.0", ("layers", "layers.0")),
        # Blocks of different classes in one list.
        (lists(layers="Mamba Attention"), "layers.1", ("layers", "layers.1")),
        # Stages.
        (lists(stages=2, stages__0__blocks=2, stages__1__blocks=2), "stages.1.blocks.0",
         ("stages.blocks", "stages.1.blocks.0")),
        (lists(layer1=2, layer2=3), "layer2.2", ("layer", "layer2.2")),
        (lists(wav2vec2__layers=2), "wav2vec2.layers.0", ("wav2vec2.layers", "wav2vec2.layers.0")),
    ],
)  # fmt: skip
def test_the_block_around_a_sum(containers, module, expected):
    assert Stacks(containers, [module], [module]).of(module) == expected


def test_layers_are_counted_over_stages_in_the_order_of_the_pass():
    containers = lists(layer1=2, layer2=2)
    order = ["layer2.1.conv", "layer1.0", "layer1.1", "layer2.0"]
    stacks = Stacks(containers, ["layer1.0"], order)
    blocks = ["layer2.1", "layer1.0", "layer1.1", "layer2.0"]
    assert [stacks.layer(block) for block in blocks] == [(n, 4) for n in range(4)]


def test_elements_without_a_sum_count_among_equals_alone():
    equal = Stacks(lists(blocks=3), ["blocks.1"], [])
    assert equal.layer("blocks.1") == (1, 3)
    mixed = Stacks(lists(net="Stem Block Block Head"), ["net.1", "net.2"], ["net.0", "net.1", "net.2"])
    assert [mixed.layer(block) for block in ("net.1", "net.2")] == [(0, 2), (1, 2)]
    assert mixed.of("net.0") == ("", "")


def test_without_sums_the_outermost_lists_of_equal_blocks_count():
    stacks = Stacks(lists(rnn=2, rnn__0__gates=4, single=1, mixed="A B"), [], [])
    assert stacks.of("rnn.0.gates.3") == ("rnn", "rnn.0")
    assert stacks.layer("rnn.1") == (1, 2)
    assert stacks.of("single.0") == stacks.of("mixed.0") == ("", "")
