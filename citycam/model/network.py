"""The whole network: backbone (body, pool) and head, read from pictures or from kept features."""

from __future__ import annotations

from torch import Tensor, nn

from citycam.model.backbone import Backbone


class Network(nn.Module):
    """``head(pool(body(pictures)))``: pictures (B, 3, S, S) to logits (B, K).

    Where the backbone is frozen and its features are kept, `from_features` gives the same logits from (B, D) features.
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
        """Logits (B, K) of pooled features (B, D)."""
        logits: Tensor = self.head(features)
        return logits
