"""Proposals by shape, role and order, against models whose answer is known."""

import copy
import importlib.util
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from torch import nn

from fanin import ArgumentError, open_weights
from fanin.names import Offered, Wanted, propose, resolve
from fanin.names.assignment import best_assignment
from fanin.names.likeness import likeness
from fanin.names.pairing import MOST_COMPARED


class Block(nn.Module):
    """A residual block of ResNet-18 with torchvision's names."""

    def __init__(self, i, o, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(i, o, 3, stride, 1, bias=False), nn.BatchNorm2d(o)
        self.conv2, self.bn2 = nn.Conv2d(o, o, 3, 1, 1, bias=False), nn.BatchNorm2d(o)
        self.downsample = None
        if i != o:
            self.downsample = nn.Sequential(nn.Conv2d(i, o, 1, stride, bias=False), nn.BatchNorm2d(o))

    def forward(self, x):
        y = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
        return (y + (x if self.downsample is None else self.downsample(x))).relu()


class ResNet(nn.Module):
    """ResNet-18 of little width with torchvision's names."""

    def __init__(self, width=4):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width)
        sizes = [width, *(width * 2**n for n in range(4))]
        for n in range(4):
            blocks = Block(sizes[n], sizes[n + 1], 1 + (n > 0)), Block(sizes[n + 1], sizes[n + 1], 1)
            setattr(self, f"layer{n + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(sizes[-1], 10)

    def forward(self, x):
        x = self.bn1(self.conv1(x)).relu()
        for n in range(4):
            x = getattr(self, f"layer{n + 1}")(x)
        return self.fc(x.mean((2, 3)))


def elsewhere(name):
    """The name in a library that calls everything otherwise."""
    for old, new in (
        (".conv1.", ".residual.0."),
        (".bn1.", ".residual.1."),
        (".conv2.", ".residual.3."),
        (".bn2.", ".residual.4."),
        (".downsample.", ".shortcut."),
        ("fc.", "classifier."),
    ):
        name = name.replace(old, new) if name.startswith("layer") or old == "fc." else name
    name = name.replace("conv1.", "stem.conv.").replace("bn1.", "stem.norm.")
    for n in range(4):
        name = name.replace(f"layer{n + 1}.", f"stages.{n}.")
    return name


def wanted_of(model):
    return [Wanted(name, tuple(tensor.shape)) for name, tensor in model.state_dict().items()]


def trained(model, seed):
    torch.manual_seed(seed)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.copy_(torch.rand(tensor.shape) + 0.5 if tensor.is_floating_point() else tensor + 7)
    return model.eval()


@pytest.mark.parametrize("order", ["registered", "sorted"])
def test_a_resnet_under_other_names_is_found_whole(order, tools):
    old, new = trained(ResNet(), 0), trained(ResNet(), 1)
    truth = {elsewhere(name): name for name in old.state_dict()}
    tensors = {elsewhere(name): tensor for name, tensor in old.state_dict().items()}
    if order == "sorted":
        tensors = dict(sorted(tensors.items()))
    proposal = propose(wanted_of(new), tools["offered_of"](tensors))
    assert proposal.rename == {key: truth[key] for key in proposal.rename}
    assert (len(proposal.pairs), proposal.missing, proposal.unused) == (122, (), ())
    found = tools["loaded"](new, tensors, rename=proposal.rename)
    assert (found.missing, dict(found.unused)) == ((), {})
    x = torch.rand(2, 3, 32, 32)
    assert torch.equal(old(x), new(x))


def test_nothing_is_applied_by_itself(tools):
    old = ResNet()
    file = [Offered(elsewhere(name), tuple(tensor.shape)) for name, tensor in old.state_dict().items()]
    assert not resolve(wanted_of(old), file).taken


BERT = (
    ("embeddings.word_embeddings", "tok_emb"),
    ("embeddings.position_embeddings", "pos_emb"),
    ("embeddings.token_type_embeddings", "seg_emb"),
    ("embeddings.LayerNorm", "emb_norm"),
    ("encoder.layer.", "blocks."),
    ("attention.self.query", "attn.wq"),
    ("attention.self.key", "attn.wk"),
    ("attention.self.value", "attn.wv"),
    ("attention.output.dense", "attn.wo"),
    ("attention.output.LayerNorm", "norm1"),
    ("intermediate.dense", "ffn.lin1"),
    ("output.dense", "ffn.lin2"),
    ("output.LayerNorm", "norm2"),
    ("pooler.dense", "pool"),
)


@pytest.mark.parametrize("tokens", [50, 64])  # 64: as many as positions, so that two tables have one shape
@pytest.mark.parametrize("order", ["registered", "sorted"])
def test_a_bert_under_other_names_is_found_whole_or_its_doubts_are_said(order, tokens, tools):
    model = tools["model_of"](tools["config_for"]("bert", num_hidden_layers=3, vocab_size=tokens))
    truth = {}
    for name in model.state_dict():
        key = name
        for old, new in BERT:
            key = key.replace(old, new)
        truth[key] = name
    shapes = {key: tuple(model.state_dict()[name].shape) for key, name in truth.items()}
    keys = sorted(truth) if order == "sorted" else list(truth)
    proposal = propose(wanted_of(model), [Offered(key, shapes[key]) for key in keys])
    wrong = [pair for pair in proposal.pairs if truth[pair.key] != pair.name]
    assert not wrong or (order == "sorted" and tokens == 64)
    assert all(pair.confidence <= 0.5 for pair in wrong)
    assert (len(proposal.pairs), proposal.missing, proposal.unused) == (len(truth), (), ())


def test_a_confidence_and_a_reason_each():
    model = [Wanted("first.weight", (3, 5)), Wanted("a.0.weight", (4, 4)), Wanted("a.1.weight", (4, 4))]
    file = [Offered("x.weight", (3, 5)), Offered("h.0.weight", (4, 4)), Offered("h.1.weight", (4, 4))]
    assert str(propose(model, file)).splitlines() == [
        "model         file        confidence  reason",
        "first.weight  x.weight          0.95  the only two of this shape",
        "a.0.weight    h.0.weight        0.90  number 1 of 2 of this shape, names agree",
        "a.1.weight    h.1.weight        0.90  number 2 of 2 of this shape, names agree",
    ]
    by_name = propose(model, sorted(file, key=lambda tensor: tensor.key))
    assert by_name.rename == propose(model, file).rename
    assert by_name.pairs[2].reason == "one of 2 of this shape, by name: the file is sorted by name"


def ordered(*names):
    """A file of 4 × 4 matrices in the network's own order, which is not that of the alphabet."""
    return [Offered("z.weight", (1, 2)), *(Offered(f"{name}.weight", (4, 4)) for name in names)]


def matrices(*names):
    return [Wanted(f"{name}.weight", (4, 4)) for name in names]


def test_names_and_order_that_disagree_are_said():
    clear = propose(matrices("query", "key"), ordered("attn.wk", "attn.wq"))
    assert clear.rename == {"attn.wq.weight": "query.weight", "attn.wk.weight": "key.weight"}
    assert [(pair.confidence, pair.reason) for pair in clear.pairs] == [
        (0.5, "by names, against the order: 1 here, 2 in the file of 2 of this shape"),
        (0.5, "by names, against the order: 2 here, 1 in the file of 2 of this shape"),
    ]
    silent = propose(matrices("ma", "mb"), ordered("nx", "ny"))
    assert silent.rename == {"nx.weight": "ma.weight", "ny.weight": "mb.weight"}
    assert [(pair.confidence, pair.reason) for pair in silent.pairs] == [
        (0.7, "number 1 of 2 of this shape, names say nothing"),
        (0.7, "number 2 of 2 of this shape, names say nothing"),
    ]
    numbers = propose(matrices("layers.0.conv", "layers.1.conv"), ordered("h.4.conv", "h.0.conv"))
    assert numbers.rename == {"h.4.conv.weight": "layers.0.conv.weight", "h.0.conv.weight": "layers.1.conv.weight"}
    assert [pair.confidence for pair in numbers.pairs] == [0.5, 0.7]


def test_what_is_found_by_shape_restores_the_order_of_a_sorted_file():
    model = [Wanted(f"{name}.weight", shape) for name, shape in (("m.r", (5, 4)), ("m.s", (4, 4)), ("n.s", (4, 4)))]
    model.append(Wanted("n.r.weight", (4, 7)))
    file = [Offered("c.x.weight", (4, 4)), Offered("c.y.weight", (4, 7)), Offered("d.x.weight", (4, 4))]
    proposal = propose(model, [*file, Offered("d.z.weight", (5, 4))])
    assert proposal.rename["d.x.weight"] == "m.s.weight"
    assert proposal.rename["c.x.weight"] == "n.s.weight"


def test_fewer_in_the_file_than_in_the_model():
    model = [Wanted(f"layers.{number}.weight", (4, 4)) for number in range(4)]
    file = [Offered(f"h.{number}.weight", (4, 4)) for number in (0, 3)]
    proposal = propose(model, file)
    assert proposal.rename == {"h.0.weight": "layers.0.weight", "h.3.weight": "layers.3.weight"}
    assert proposal.missing == ("layers.1.weight", "layers.2.weight")
    assert {pair.confidence for pair in proposal.pairs} == {0.5}
    assert proposal.pairs[0].reason == "4 here and 2 in the file have this shape: by order and names"


def test_roles_tell_biases_from_scales():
    model = [Wanted("g", (4,), role="norm scale"), Wanted("shift", (4,), role="bias")]
    file = [Offered("ln.bias", (4,)), Offered("ln.weight", (4,))]
    assert propose(model, file).rename == {"ln.weight": "g", "ln.bias": "shift"}


def test_a_transposed_matrix_is_proposed_with_its_change(tmp_path, tools):
    model = [Wanted("proj.weight", (3, 5)), Wanted("proj.bias", (3,))]
    file = [Offered("dense/kernel", (5, 3)), Offered("dense/bias", (3,))]
    proposal = propose(model, file)
    pair = proposal.pairs[0]
    assert (pair.key, pair.confidence, pair.changes) == ("dense/kernel", 0.65, (("transpose", 0, 1),))
    for name in ("rules.toml", "rules.json"):
        proposal.save(tmp_path / name)
        found = resolve(model, file, rename=tmp_path / name)
        tensors = {"dense/kernel": torch.arange(15.0).reshape(5, 3), "dense/bias": torch.zeros(3)}
        assert torch.equal(tools["values"](found.taken["proj.weight"], tensors), tensors["dense/kernel"].T)
        assert found.taken["proj.bias"].key == "dense/bias"


def test_what_meets_by_name_is_not_proposed():
    model = [Wanted("a.weight", (2, 2)), Wanted("b.weight", (3, 3))]
    proposal = propose(model, [Offered("module.a.weight", (2, 2)), Offered("c.weight", (3, 3))])
    assert proposal.rename == {"c.weight": "b.weight"}
    told = propose(model, [Offered("a.weight", (2, 2)), Offered("c.weight", (3, 3))], rename={"c.": "b."})
    assert str(told) == "no pairs to propose"


def test_hostile_names_survive_the_file(tmp_path):
    keys = ['quo"te', "back\\slash", "new\nline", "é\x1b[31m", "# no comment", "a.b = 'c'"]
    model = [Wanted(f"w{number}", (number + 1,)) for number in range(len(keys))]
    file = [Offered(key, (number + 1,)) for number, key in enumerate(keys)]
    proposal = propose(model, file)
    for name in ("a.toml", "a.json"):
        proposal.save(tmp_path / name)
        taken = resolve(model, file, rename=tmp_path / name).taken
        assert {entry: each.key for entry, each in taken.items()} == {f"w{n}": key for n, key in enumerate(keys)}
    assert len(str(proposal).splitlines()) == len(keys) + 1
    assert "\x1b" not in str(proposal)
    with pytest.raises(ArgumentError, match=r"a\.txt: a proposal is written as \.toml or \.json"):
        proposal.save(tmp_path / "a.txt")


def test_the_toml_file_has_the_reasons(tmp_path):
    propose([Wanted("a", (2,))], [Offered("b", (2,))]).save(tmp_path / "r.toml")
    assert (tmp_path / "r.toml").read_text().splitlines()[1:] == [
        "[rename]",
        '"b" = "a"  # 0.75: the only two of this shape, by shape alone',
    ]


def test_the_same_data_in_json():
    assert propose([Wanted("a.weight", (2,))], [Offered("b.weight", (2,)), Offered("c", (9,))]).to_dict() == {
        "pairs": [{"name": "a.weight", "key": "b.weight", "confidence": 0.95, "reason": "the only two of this shape"}],
        "missing": [],
        "unused": ["c"],
    }


def test_many_of_one_shape_go_by_order_alone():
    many = MOST_COMPARED + 1
    model = [Wanted(f"layers.{number}.weight", (4, 4)) for number in range(many)]
    file = [Offered(f"h.{number}.w", (4, 4)) for number in range(many)]
    proposal = propose(model, file)
    assert proposal.rename == {f"h.{number}.w": f"layers.{number}.weight" for number in range(many)}
    assert proposal.pairs[0].confidence == 0.7
    assert proposal.pairs[0].reason == "in order, 401 of this shape"


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (4, 4), (7, 3), (6, 9), (0, 3)])
def test_the_assignment_is_the_best(shape):
    for seed in range(8):
        scores = np.random.default_rng(seed).integers(0, 5, shape).astype(float)
        pairs = best_assignment(scores)
        rows, columns = linear_sum_assignment(scores, maximize=True)
        assert len(pairs) == min(shape)
        assert len({row for row, _ in pairs}) == len({column for _, column in pairs}) == len(pairs)
        assert sum(scores[pair] for pair in pairs) == scores[rows, columns].sum()


def test_likeness_reads_synonyms_and_numbers():
    assert likeness("encoder.layer.3.attention", "encoder.layers.3.attn") == 1.0
    assert likeness("layer.3.conv", "layer.4.conv") < likeness("layer.3.conv", "blocks.3.cnn")
    assert likeness("bn1", "norm.1") == 1.0


def test_a_real_digit_recognizer_goes_into_a_net_of_ones_own(tools):
    spec = importlib.util.find_spec("digit_recognizer")
    if spec is None:
        pytest.skip("digit-recognizer-py is not installed: see tests/real_files.txt")
    folder = Path(spec.origin).parent
    path = folder / "models" / "handwriting_model.pth"

    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.Conv2d(1, 32, 3, padding=1)
            self.body = nn.ModuleList([nn.Conv2d(32, 64, 3, padding=1), nn.Conv2d(64, 128, 3, padding=1)])
            self.hidden, self.head = nn.Linear(1152, 256), nn.Linear(256, 10)

        def forward(self, x):
            for conv in (self.stem, *self.body):
                x = nn.functional.max_pool2d(conv(x).relu(), 2)
            return self.head(self.hidden(x.flatten(1)).relu())

    tensors = dict(open_weights(path))
    own = Own()
    proposal = propose(wanted_of(own), tools["offered_of"](tensors))
    assert {pair.confidence for pair in proposal.pairs} == {0.95}
    tools["loaded"](own, tensors, rename=proposal.rename)
    theirs = runpy.run_path(str(folder / "model.py"))["CNN"]()
    theirs.load_state_dict(copy.deepcopy(tensors))
    x = torch.rand(4, 1, 28, 28)
    assert torch.equal(own(x), theirs(x))


def test_any_name_survives_a_rename_file(tmp_path):
    key = "\U0001f600\x7f\n\\\"'= é"
    proposal = propose([Wanted("a.weight", (2, 3))], [Offered(key, (2, 3))])
    for name in ("p.toml", "p.json"):
        proposal.save(tmp_path / name)
        found = resolve([Wanted("a.weight", (2, 3))], [Offered(key, (2, 3))], rename=tmp_path / name)
        assert found.taken["a.weight"].key == key
