"""Agreement: ranks that hold shards of one model write the same values, or none of them writes any."""

from fanin.torch.agreement.team import Team as Team
