"""The whole network, backbone and head, for pictures or for stored features."""

from __future__ import annotations

from torch import Tensor, nn

from citycam.model.backbone import Backbone


class Network(nn.Module):
    """The module ``head(pool(body(pictures)))``: pictures (B, 3, S, S) to logits (B, K).

    For the stored features of a frozen backbone, `from_features` returns the same logits.
    """

    def __init__(self, backbone: Backbone, head: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, pictures: Tensor) -> Tensor:
        """Return logits (B, K) of pictures (B, 3, S, S)."""
        logits: Tensor = self.head(self.backbone(pictures))
        return logits

    def from_features(self, features: Tensor) -> Tensor:
        """Return logits (B, K) of pooled features (B, D)."""
        logits: Tensor = self.head(features)
        return logits
