"""FSDP2 over any number of processes gives the bits of one: torchrun --nproc-per-node=4 examples/fsdp2_torchrun.py"""

from hashlib import sha256

import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

import fanin


class Net(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Embedding(1000, 96), nn.Linear(96, 250), nn.GELU(), nn.LayerNorm(250), nn.Linear(250, 7))


def whole(tensor: Tensor) -> Tensor:
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def fingerprint(model: nn.Module) -> str:
    return sha256(b"".join(whole(tensor).numpy().tobytes() for tensor in model.state_dict().values())).hexdigest()


dist.init_process_group("gloo")
captured = fanin.capture(Net)  # a model on the meta device, and the laws of its own constructor
mesh = init_device_mesh("cpu", (dist.get_world_size(),))
model = fully_shard(captured.model, mesh=mesh)
fanin.materialize(model, captured.plan, seed=0, device="cpu")  # each process draws its own shards only

alone = fanin.materialize(Net(), captured.plan, seed=0)
same = fingerprint(model) == fingerprint(alone)
if dist.get_rank() == 0:
    print(f"{dist.get_world_size()} processes, the bits of one: {same}, {fingerprint(alone)[:16]}")
dist.destroy_process_group()
