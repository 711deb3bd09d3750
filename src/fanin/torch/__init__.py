"""What meets `torch.nn.Module`s: capture, trace, plan, materialize, files, and the drop-in for `torch.nn.init`."""
