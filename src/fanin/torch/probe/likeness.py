"""How alike the outputs of different samples are: mean cosine, effective rank."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fanin.torch.probe.sampling import places

ROWS, FEATURES = 64, 4096


@dataclass(frozen=True, slots=True)
class Likeness:
    """Of at most 64 rows of unit length, one per sample or token, in at most 4,096 of their features.

    Attributes:
        correlation: mean cosine between two different rows.
        effective_rank: exp(−Σ p·log p) over the shares p of the eigenvalues of their Gram matrix (of the squared
            singular values): 1 where all rows are parallel or opposite, up to their number where they are orthogonal.
    """

    correlation: float
    effective_rank: float


def likeness(tensor: Tensor, tokens: bool) -> Likeness | None:
    """Compare the rows of a tensor: its samples, or (`tokens`) the last dimension at all positions of all samples.

    None for fewer than two rows that are not zero, for fewer than two features, or where a value is not finite.
    The effective rank is the one of Roy and Vetterli, "The effective rank" (EUSIPCO 2007), exp of the entropy of the
    spectrum, but of σ²/Σσ² where they take σ/Σσ: the Gram matrix gives σ² without a decomposition of the rows.

    >>> likeness(torch.eye(4), tokens=False)
    Likeness(correlation=0.0, effective_rank=4.0)
    """
    if tensor.ndim < 2 or not tensor.numel():
        return None
    rows = _chosen(tensor.detach(), tokens)
    if rows.shape[1] < 2:
        return None
    rows = rows.double() if rows.dtype == torch.float64 else rows.float()
    sizes = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    kept = (sizes > 0).flatten()
    rows = (rows / sizes.clamp_min(torch.finfo(rows.dtype).tiny))[kept]
    count = rows.shape[0]
    if count < 2 or not bool(torch.isfinite(sizes).all()):
        return None
    gram = (rows @ rows.T).double()
    correlation = (gram.sum() - gram.trace()) / (count * (count - 1))
    shares = torch.linalg.eigvalsh(gram).clamp_min(0) / gram.trace()
    rank = torch.special.entr(shares).sum().exp()
    told = torch.stack((correlation.clamp(-1, 1), rank)).tolist()
    return Likeness(told[0], told[1])


def _chosen(tensor: Tensor, tokens: bool) -> Tensor:
    """[rows, features]: at most so many of each, the same places for the same shape."""
    table = tensor.reshape(-1, tensor.shape[-1]) if tokens else tensor.reshape(tensor.shape[0], -1)
    rows, features = (places(n, most, tensor.device) for n, most in zip(table.shape, (ROWS, FEATURES), strict=True))
    return table[rows[:, None], features]
