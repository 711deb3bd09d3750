"""Numbers of the GGUF format."""

MAGIC = b"GGUF"
VERSION = 3
READ_VERSIONS = (2, 3)
ALIGNMENT = 32
MAX_DIMENSIONS = 4
MAX_NAME_BYTES = 63

ALIGNMENT_KEY = "general.alignment"
ARCHITECTURE_KEY = "general.architecture"

TENSOR_TYPES = {
    "float32": 0,
    "float16": 1,
    "int8": 24,
    "int16": 25,
    "int32": 26,
    "int64": 27,
    "float64": 28,
    "bfloat16": 30,
}
"""ggml's number of each type whose values fanin reads and writes as they are."""

DTYPE_OF = {number: dtype for dtype, number in TENSOR_TYPES.items()}
"""From ggml's number to torch's name."""

NUMBERS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 10: "<Q", 11: "<q", 12: "<d"}
"""Metadata types of fixed size, as `struct` writes them."""

UINT32, BOOL, STRING, ARRAY, UINT64, INT64, FLOAT64 = 4, 7, 8, 9, 10, 11, 12
"""The metadata types that are named in code."""
