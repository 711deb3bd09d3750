"""Tensors of which this process holds a part: DTensor, DeepSpeed's ZeRO-3, FSDP1's flat parameters."""
