"""What a model costs: parameters, bytes, multiplications."""

from fanin.counting.counter import count
from fanin.counting.records import Bytes, Count, ModuleCount

__all__ = ["Bytes", "Count", "ModuleCount", "count"]
