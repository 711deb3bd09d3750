"""Capture: a constructor run without memory, and what its own code would have written."""

from fanin.torch.capture.constructor import Captured as Captured
from fanin.torch.capture.constructor import capture as capture
