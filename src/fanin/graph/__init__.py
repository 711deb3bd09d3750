"""Framework-free records of a traced model, and the roles and fans derived from them."""

from fanin.graph.records import Graph as Graph
from fanin.graph.records import Use as Use
