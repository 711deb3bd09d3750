"""IDX files: read exactly, and every damaged or hostile one refused in a sentence before memory is taken."""

from __future__ import annotations

import gzip
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fanin import DataError
from fanin.data.idx import read_idx


@given(values=arrays(np.uint8, st.tuples(*[st.integers(1, 5)] * 3)), packed=st.booleans())
def test_reads_back_any_array(tmp_path_factory, values, packed):
    path = tmp_path_factory.mktemp("idx") / "images"
    path.write_bytes(gzip.compress(idx_bytes(values)) if packed else idx_bytes(values))
    assert np.array_equal(read_idx(path, 3), values)


def test_progress_ends_at_the_end(tmp_path):
    told = []
    path = tmp_path / "labels"
    path.write_bytes(idx_bytes(np.arange(200)))
    read_idx(path, 1, lambda done, total: told.append((done, total)))
    assert told[-1] == (200, 200)


def idx_bytes(values: np.ndarray) -> bytes:
    """The IDX form of an array of bytes, written down here from LeCun's description."""
    header = bytes((0, 0, 8, values.ndim)) + b"".join(int(side).to_bytes(4, "big") for side in values.shape)
    return header + values.astype(np.uint8).tobytes()


GOOD = idx_bytes(np.zeros((2, 3, 3), np.uint8))
HUGE = bytes((0, 0, 8, 3)) + b"\xff" * 12

DAMAGED = {
    "empty": (b"", "no IDX file of bytes: it starts with nothing where 00 00 08 03 is due"),
    "wrong magic": (b"\x89PNG" + GOOD[4:], "no IDX file of bytes: it starts with 89 50 4e 47 where 00 00 08 03 is due"),
    "floats": (b"\0\0\x0d\x03" + GOOD[4:], "it starts with 00 00 0d 03 where 00 00 08 03 is due"),
    "labels": (idx_bytes(np.zeros(4)), "an IDX file of 1 dimensions where 3 are needed: is it another's?"),
    "short header": (GOOD[:9], "the file ends inside its header"),
    "empty array": (GOOD[:4] + bytes(12), "the header tells of an empty array 0×0×0"),
    "one byte short": (GOOD[:-1], "an array 2×3×3 takes 18 bytes, and the file has only 17"),
    "too long": (GOOD + b"\0" * 20, "an array 2×3×3 takes 18 bytes, and the file has more"),
    "huge": (HUGE + bytes(100), "the header tells of an array 4294967295×4294967295×4294967295, 79,228"),
}


@pytest.mark.parametrize("name", DAMAGED)
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_damaged_files_are_refused(tmp_path, name, packed):
    content, message = DAMAGED[name]
    path = tmp_path / "images"
    path.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(DataError) as caught:
        read_idx(path, 3)
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(path))


def test_truncated_files_are_refused(tmp_path):
    """What is there shows from the size of a plain file, and while a gzipped one is read."""
    content = idx_bytes(np.ones((2, 9, 9)))[:-100]
    path = tmp_path / "images"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"2×9×9, 162 bytes, and the file holds at most 78: it is damaged"):
        read_idx(path, 3)
    path.write_bytes(gzip.compress(content))
    with pytest.raises(DataError, match=r"an array 2×9×9 takes 162 bytes, and the file has only 62"):
        read_idx(path, 3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(GOOD)[:-12], "cannot be read as an IDX file ("),
        (b"\x1f\x8bnot gzip at all", "cannot be read as an IDX file ("),
        (gzip.compress(GOOD)[:-6] + b"abcdef", "cannot be read as an IDX file ("),
    ],
    ids=["cut", "no gzip", "checksum"],
)
def test_damaged_gzip_is_refused(tmp_path, content, message):
    path = tmp_path / "images.gz"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_idx(path, 3)
    assert message in str(caught.value)


def test_no_memory_is_taken_on_the_word_of_a_header(tmp_path):
    """A header of 900 MB over a file of 1 MB that gzip could just hold takes no more than what is there."""
    path = tmp_path / "images.gz"
    path.write_bytes(gzip.compress(bytes((0, 0, 8, 3, 0, 0, 3, 132)) + b"\0\0\3\xe8" * 2) + b"")
    with path.open("ab") as file:
        file.write(bytes(1_000_000))  # zeros after gzip's end are padding
    tracemalloc.start()
    with pytest.raises(DataError, match="the file has only 0"):
        read_idx(path, 3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000


def test_what_gzip_cannot_hold_is_refused_unread(tmp_path):
    """Deflate makes at most 1,032 bytes of one."""
    path = tmp_path / "images.gz"
    path.write_bytes(gzip.compress(GOOD[:4] + b"\0\0\xff\xff" * 3))
    limit = 1032 * path.stat().st_size
    with pytest.raises(DataError, match=f"and the file holds at most {limit:,}: it is damaged"):
        read_idx(path, 3)


def test_a_bomb_ends_where_the_header_says(tmp_path):
    """A gigabyte of zeros behind an array of 18 bytes is not unpacked."""
    path = tmp_path / "images.gz"
    bomb = gzip.compress(bytes(50_000_000), 9)
    path.write_bytes(gzip.compress(GOOD) + bomb * 20)
    tracemalloc.start()
    with pytest.raises(DataError, match="18 bytes, and the file has more"):
        read_idx(path, 3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000


def test_a_missing_file(tmp_path):
    with pytest.raises(DataError, match="cannot be read as an IDX file \\(No such file or directory\\)"):
        read_idx(tmp_path / "none", 3)
