"""Counter-based random numbers: the stream and its kernels."""

from fanin.random.stream import STREAM_VERSION as STREAM_VERSION
from fanin.random.stream import Region as Region
from fanin.random.stream import Stream as Stream
