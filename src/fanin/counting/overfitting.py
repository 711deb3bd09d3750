"""What the number of parameters says about overfitting, and what it does not."""

from __future__ import annotations

_SAMPLES_PER_PARAMETER = 10


def overfitting(trainable: int, samples: int) -> str:
    """Rules of thumb for `trainable` parameters and `samples` training samples.

    Sources: Baum & Haussler, "What size net gives valid generalization?", 1989 (about W/ε samples for W weights and
    error ε: ten per weight for 10 %); Zhang et al., arXiv:1611.03530 (2n + d weights can memorise any labels of n
    samples); Belkin et al., arXiv:1812.11118 (beyond that point more parameters often generalise better).

    >>> print(overfitting(1_000, 60_000)[:73])
    0.0167 parameters per training sample: at least ten samples per parameter
    """
    ratio = f"{trainable / samples:.3g} parameters per training sample"
    if trainable * _SAMPLES_PER_PARAMETER <= samples:
        return (
            f"{ratio}: at least ten samples per parameter, which the old rule of thumb (Baum & Haussler 1989) asks "
            "for; overfitting is unlikely to come from size."
        )
    if trainable < samples:
        return (
            f"{ratio}: fewer than the ten samples per parameter of the old rule of thumb (Baum & Haussler 1989), so "
            "some overfitting is possible; watch the loss on held-out data."
        )
    return (
        f"{ratio}: enough to memorise the training data (Zhang et al. 2017). Whether it overfits is not decided by the "
        "count, larger networks often generalise better (Belkin et al. 2019): watch the loss on held-out data, and "
        "regularise or stop early if it rises."
    )
