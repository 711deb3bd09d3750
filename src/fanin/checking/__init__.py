"""Say what is wrong with a model before its first step: `check(model, inputs)`."""

from fanin.checking.findings import Finding, Severity
from fanin.checking.report import LayerReport, Report
from fanin.checking.signal import check
from fanin.checking.verdicts import Verdict

__all__ = ["Finding", "LayerReport", "Report", "Severity", "Verdict", "check"]
