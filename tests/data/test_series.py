"""Series: known values, windows by hand, nothing of the future in the training part."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fanin import ArgumentError, DataError, MissingExtraError, UnknownNameError
from fanin.data import known, load
from fanin.data.known_series import CO2, ELNINO, SUNSPOTS
from fanin.data.series import RawSeries, series


@pytest.mark.parametrize(
    ("known_series", "shape", "first", "last", "total"),
    [
        (SUNSPOTS, (309, 1), [5, 11, 16, 23, 36], 2.9, 15373.4),
        (CO2, (2284, 1), [316.1, 317.3, 317.6, 317.5, 316.4], 371.5, None),
        (ELNINO, (732, 1), [23.11, 24.2, 25.37, 23.86, 23.03], 22.07, 16903.8),
    ],
    ids=["sunspots", "co2", "elnino"],
)
def test_known_values(known_series, shape, first, last, total):
    values = known_series.read().values
    assert values.shape == shape
    assert values[:5, 0].tolist() == first
    assert values[-1, 0] == last
    assert total is None or values.sum() == pytest.approx(total)


def test_co2_fills_its_gaps_with_the_last_value_before_them():
    theirs = pytest.importorskip("statsmodels.datasets").co2.load_pandas().data["co2"].ffill()
    assert np.array_equal(CO2.read().values[:, 0], theirs.to_numpy())


def test_elnino_goes_month_by_month():
    theirs = pytest.importorskip("statsmodels.datasets").elnino.load_pandas().data.to_numpy()
    assert np.array_equal(ELNINO.read().values[:, 0], theirs[:, 1:].reshape(-1))


@pytest.mark.skipif(bool(known("airline").missing()), reason="sktime is not installed")
def test_airline_as_box_and_jenkins_have_it():
    data = load("airline,lookback=12,horizon=12")
    assert data.scale is not None
    seen = data.scale.raw(data.train.inputs[0, :, 0])
    assert np.allclose(seen, [112, 118, 132, 129, 121, 135, 148, 148, 136, 119, 104, 118], atol=1e-3)
    assert data.scale.raw(data.test.targets[-1, -1])[0] == pytest.approx(432, abs=1e-3)


@given(
    steps=st.integers(4, 80),
    channels=st.integers(1, 3),
    lookback=st.integers(1, 12),
    horizon=st.integers(1, 12),
    split=st.floats(0.1, 0.9),
)
def test_windows_are_stretches_of_their_part(steps, channels, lookback, horizon, split):
    cut = round(split * steps)
    assume(lookback + horizon <= cut and horizon <= steps - cut)
    values = np.arange(steps * channels, dtype=float).reshape(steps, channels) ** 1.1
    assume((values[:cut].std(axis=0) > 0).all())
    data = series(lambda: RawSeries(values, "a test"), lookback, horizon, split)
    assert data.scale is not None
    scaled = ((values - values[:cut].mean(axis=0)) / values[:cut].std(axis=0)).astype(np.float32)
    first_test = max(cut, lookback) - lookback
    for part, start, end in ((data.train, 0, cut), (data.test, first_test, steps)):
        assert len(part) == end - start - lookback - horizon + 1
        for row in range(len(part)):
            at = start + row
            assert np.array_equal(part.inputs[row], scaled[at : at + lookback])
            assert np.array_equal(part.targets[row], scaled[at + lookback : at + lookback + horizon])
    assert first_test + lookback >= cut  # no target of the test was seen in training


def write(path, rows, header="time,value"):
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def table(tmp_path):
    return write(tmp_path / "table.csv", [f"day {i},{i * i % 17}" for i in range(100)])


def test_the_future_changes_nothing_of_the_training_part(tmp_path, table):
    first = load(f"csv,path={table},lookback=5,horizon=2")
    rows = [f"day {i},{i * i % 17 if i < 80 else 1000 + i}" for i in range(100)]
    second = load(f"csv,path={write(tmp_path / 'other.csv', rows)},lookback=5,horizon=2")
    assert first.scale is not None
    assert second.scale is not None
    assert np.array_equal(first.train.inputs, second.train.inputs)
    assert np.array_equal(first.train.targets, second.train.targets)
    assert np.array_equal(first.scale.mean, second.scale.mean)
    assert np.array_equal(first.scale.std, second.scale.std)
    assert not np.array_equal(first.test.targets, second.test.targets)
    assert float(first.scale.mean[0]) == np.mean([i * i % 17 for i in range(80)])


def test_limits_keep_what_is_nearest_to_the_split(table):
    everything = load(f"csv,path={table},lookback=5,horizon=2")
    few = load(f"csv,path={table},lookback=5,horizon=2,train=3,test=4")
    assert np.array_equal(few.train.inputs, everything.train.inputs[-3:])
    assert np.array_equal(few.test.targets, everything.test.targets[:4])
    assert len(few.train) == 3
    assert len(few.test) == 4
    assert few.sizes == {"channels": 1, "lookback": 5, "horizon": 2}


def test_columns_by_name(tmp_path):
    rows = [f"{i},{2 * i},x,{3 * i}" for i in range(30)]
    path = write(tmp_path / "a.csv", rows, "a,b,c,d")
    data = load(f"csv,path={path},lookback=3,horizon=1,columns=d+a")
    assert data.scale is not None
    assert np.allclose(data.scale.raw(data.train.inputs[2]), [[6, 2], [9, 3], [12, 4]], atol=1e-5)
    assert load(f"csv,path={path},lookback=3,horizon=1").sizes["channels"] == 3
    with pytest.raises(UnknownNameError, match="unknown column 'e'"):
        load(f"csv,path={path},columns=e")
    with pytest.raises(DataError, match="row 1 of column 'c' is 'x', not a number"):
        load(f"csv,path={path},columns=c")


def test_a_file_without_names(tmp_path):
    path = write(tmp_path / "a.csv", [f"{i}" for i in range(30)], "-1")
    data = load(f"csv,path={path},lookback=3,horizon=1,columns=1")
    assert data.scale is not None
    assert np.allclose(data.scale.raw(data.train.inputs[0, :, 0]), [-1, 0, 1], atol=1e-5)
    assert data.source == f"{path}: 1"


def test_empty_cells(tmp_path):
    rows = [f"{i},{i if i % 7 else ''}" for i in range(1, 40)]
    path = write(tmp_path / "a.csv", rows, "t,v")
    with pytest.raises(ArgumentError) as caught:
        load(f"csv,path={path},lookback=3,horizon=1,columns=v")
    assert str(caught.value) == (
        f"{path}: row 7 of column 'v' is empty: give fill=true to take the last value before it"
    )
    data = load(f"csv,path={path},lookback=3,horizon=1,columns=v,fill=true")
    assert data.scale is not None
    assert np.allclose(data.scale.raw(data.train.inputs[4, :, 0]), [5, 6, 6], atol=1e-5)
    path = write(tmp_path / "b.csv", ["1,", "2,3"], "t,v")
    with pytest.raises(DataError, match="column 'v' starts with an empty cell"):
        load(f"csv,path={path},columns=v,fill=true")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"a,b\n", "the file has no row of numbers"),
        (b"a,b\n1,2\n3\n", "row 2 has 1 cells where there are 2 columns"),
        (b"a,b\nx,y\n", "no column holds numbers alone; the columns are a, b"),
        (b"a\n1\nnan\n", "no column holds numbers alone"),
        (b"a\n1\ninf\n", "no column holds numbers alone"),
        (b"a,b\n1,\n2,\n", "a column is empty"),
        (b"\xff\xfe\x00", "cannot be read as a CSV file ("),
        (b"a\n" + b"3\n" * 80, "channel 0 of the series is 3 all through the training part: leave it out"),
    ],
)
def test_files_that_are_no_series(tmp_path, content, message):
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(DataError) as caught:
        load(f"csv,path={tmp_path / 'a.csv'},fill=true")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            "sunspots,lookback=240",
            "lookback 240 and horizon 8 do not fit a series of 309 steps, 247 of them to train on and 62 to test on: "
            "make them shorter",
        ),
        ("sunspots,horizon=63", "lookback 32 and horizon 63 do not fit a series of 309 steps"),
        ("sunspots,horizon=0", "lookback and horizon must be at least 1, got 32 and 0"),
        ("sunspots,split=1", "split must be above 0 and below 1, got 1.0"),
        ("sunspots,train=209", "train must be from 1 to 208, the windows that there are, got 209"),
        ("csv", "csv reads a file with one row a step: csv,path=FILE"),
    ],
)
def test_numbers_that_cannot_be_meant(spec, message):
    with pytest.raises(ArgumentError) as caught:
        load(spec)
    assert message in str(caught.value)


def test_the_longest_windows_fit():
    data = load("sunspots,lookback=239")
    assert (len(data.train), len(data.test)) == (1, 55)


@pytest.mark.parametrize(
    ("name", "module", "message"),
    [
        (
            "co2",
            "statsmodels",
            "the measurements of CO₂ need the package 'statsmodels', which is not installed: pip install 'fanin[data]'",
        ),
        (
            "airline",
            "sktime",
            "the airline passengers need the package 'sktime', which is not installed: pip install sktime",
        ),
    ],
)
def test_a_package_that_is_not_installed(monkeypatch, name, module, message):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError) as caught:
        load(name)
    assert str(caught.value) == known(name).missing() == message


def test_reading_a_series_loads_no_package():
    import subprocess

    code = (
        "import sys, fanin.data as d; d.load('co2'); sys.exit(any(m in sys.modules for m in ('statsmodels','torch')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
