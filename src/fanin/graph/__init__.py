"""Framework-free records of a traced model, and the roles derived from them."""

from fanin.graph.records import Graph as Graph
from fanin.graph.records import Part as Part
from fanin.graph.records import Place as Place
from fanin.graph.records import Use as Use
from fanin.graph.roles import MATRIX_ROLES as MATRIX_ROLES
from fanin.graph.roles import ROLES as ROLES
from fanin.graph.roles import role as role
