"""Trace: one pass of the model without memory, and which operation uses each stored tensor."""

from fanin.torch.trace.forward import trace as trace
