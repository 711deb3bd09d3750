"""The layers of the built-in models that `torch.nn` does not have, each in a file of its own."""
