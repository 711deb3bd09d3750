"""Say what is wrong with a model before its first step: `check(model, inputs)`."""

from fanin.checking.asserting import assert_healthy
from fanin.checking.findings import Finding, Severity
from fanin.checking.layers import LayerReport
from fanin.checking.parameters import ParameterReport, UpdateRatio
from fanin.checking.report import Report
from fanin.checking.signal import check
from fanin.checking.verdicts import Verdict

__all__ = [
    "Finding",
    "LayerReport",
    "ParameterReport",
    "Report",
    "Severity",
    "UpdateRatio",
    "Verdict",
    "assert_healthy",
    "check",
]
