"""Values for tensors that no CPU kernel can write where they lie: on another device, strided, or of another dtype."""
