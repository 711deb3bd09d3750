"""`fanin data`: the list, one set as a table, as JSON and as a picture, bad input."""

from __future__ import annotations

import numpy as np
import pytest

import fanin as library
from fanin.data import load
from fanin.report.data_samples import sample_lines

GOLDEN = """\
digits · classification

part   samples  input          target    of each class
──────────────────────────────────────────────────────
train       20  float32 1×8×8  int64 ()              2
test       359  float32 1×8×8  int64 ()          35–37

for models: shape=1×8×8, classes=10, inputs=8
normalised by the training part: mean 0.3012, std 0.3743
source: Optical Recognition of Handwritten Digits (Alpaydin, Kaynak 1998), test part, shipped by
scikit-learn
"""


def test_one_set_as_text(fanin):
    lines = [line.rstrip() for line in fanin("data", "digits,train=20").out.splitlines()]
    assert lines[: len(GOLDEN.splitlines())] == GOLDEN.splitlines()
    assert sum(line.startswith("class 0   class 1   class 2") for line in lines) == 1
    assert lines[-4].split()[0] == "train"


def test_the_list_names_every_set_and_what_to_install(fanin):
    printed = fanin("data").out
    for name in library.data.names():
        missing = library.data.known(name).missing()
        assert f"\n{name} " in printed
        assert (f"\n{name} *" in printed) == bool(missing)
        assert missing is None or " ".join(missing.split()) in " ".join(printed.split())


def test_the_list_as_json(fanin):
    told = fanin("data", "--json").json
    assert [each["name"] for each in told] == list(library.data.names())
    assert next(each for each in told if each["name"] == "csv")["needs"] == "path"


def test_one_set_as_json(fanin):
    told = fanin("data", "sunspots,lookback=22", "--json").json
    data = load("sunspots,lookback=22")
    assert told["sizes"] == data.sizes
    assert told["parts"]["train"] == {
        "samples": len(data.train),
        "input": {"shape": [22, 1], "dtype": "float32"},
        "target": {"shape": [8, 1], "dtype": "float32"},
    }
    assert told["scale"]["mean"] == pytest.approx([data.scale.mean[0]])
    assert told["options"][0]["name"] == "lookback"
    few = fanin("data", "digits,train=3", "--json").json
    assert few["parts"]["train"]["classes"] == [1, 1, 1, 0, 0, 0, 0, 0, 0, 0]
    assert fanin("data", "digits", "--json").json["parts"]["test"]["classes"] == [
        36,
        36,
        35,
        37,
        36,
        36,
        36,
        36,
        35,
        36,
    ]


@pytest.mark.parametrize(
    "spec",
    ["digits", "sunspots", "text", "copy,delay=5,train=20", "adding,train=20", "picture,size=16", "elnino,test=2"],
)
def test_samples_as_a_picture(fanin, tmp_path, spec):
    image = pytest.importorskip("matplotlib.image")
    done = fanin("data", spec, "--png", tmp_path / "a.png")
    assert done.code == 0
    pixels = image.imread(tmp_path / "a.png")
    assert pixels.shape[1] > 600
    assert 0.001 < float((pixels[..., :3].min(axis=2) < 0.9).mean()) < 0.95
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("width", [20, 40, 100, 200])
@pytest.mark.parametrize("spec", ["mnist,size=14", "digits", "sunspots", "text", "copy", "adding,train=9", "picture"])
def test_samples_fit_the_terminal(spec, width):
    lines = sample_lines(load(spec), width)
    assert lines
    assert max(map(len, lines)) <= width


def test_an_image_in_characters(folder_of_stripes):
    data = load(f"idx,path={folder_of_stripes}")
    assert sample_lines(data, 40)[:2] == ["@@@@  @@@@", "      ++++"]


@pytest.fixture
def folder_of_stripes(tmp_path):
    """Two classes of 4×4 pixels: ink above, paper below, but for the last row of the second."""
    images = np.zeros((2, 4, 4), np.uint8)
    images[:, :2] = 255
    images[1, 3] = 255
    for part in ("train", "t10k"):
        (tmp_path / f"{part}-images-idx3-ubyte").write_bytes(
            bytes((0, 0, 8, 3)) + b"".join(n.to_bytes(4, "big") for n in images.shape) + images.tobytes()
        )
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(bytes((0, 0, 8, 1, 0, 0, 0, 2, 0, 1)))
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mnits"], "unknown data set 'mnits'; did you mean 'mnist'?"),
        (["mnist,size=9"], "size must divide the images' 28×28 pixels, as 1, 2, 4, 7, 14 do, got 9"),
        (["csv,path=none.csv"], "none.csv: cannot be read as a CSV file (No such file or directory)"),
    ],
)
def test_bad_input(fanin, arguments, message):
    done = fanin("data", *arguments)
    assert done.code == 2
    assert message in done.error
    assert done.out == ""


def test_a_picture_of_no_set(fanin):
    done = fanin("data", "--png", "a.png")
    assert done.code == 2
    assert "--png shows samples of one set: name it" in done.err
