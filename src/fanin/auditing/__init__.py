"""Say what is wrong with stored values, without a forward pass: `audit(model_or_path)`."""

from fanin.auditing.audit import audit

__all__ = ["audit"]
