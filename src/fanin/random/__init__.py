"""Counter-based random numbers: the stream and its kernels."""

from fanin.random.fills import normal as normal
from fanin.random.fills import truncated_normal as truncated_normal
from fanin.random.fills import uniform as uniform
from fanin.random.fills import words as words
from fanin.random.stream import STREAM_VERSION as STREAM_VERSION
from fanin.random.stream import Region as Region
from fanin.random.stream import Stream as Stream
from fanin.random.threads import default_threads as default_threads
