"""Opening a weights file of either format."""

from __future__ import annotations

from pathlib import Path

from fanin.weights.file_bytes import map_file
from fanin.weights.gguf_codes import MAGIC
from fanin.weights.gguf_read import read_gguf
from fanin.weights.opened import WeightsFile
from fanin.weights.safetensors_read import read_safetensors


def read_weights(path: str | Path) -> WeightsFile:
    """Open a safetensors or GGUF file; its first bytes tell which, or its suffix where they say neither.

    Raises:
        WeightsError: as `read_safetensors` and `read_gguf`.
    """
    is_gguf = map_file(path)[: len(MAGIC)].tobytes() == MAGIC or Path(path).suffix.lower() == ".gguf"
    return read_gguf(path) if is_gguf else read_safetensors(path)
