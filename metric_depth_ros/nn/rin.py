"""Recurrent Interface Network: a few latents read from, and write to, a large set of tokens.

Jabri, Fleet, Chen: Scalable Adaptive Computation for Iterative Generation, ICML 2023. Nothing
here knows an order or a grid: tokens are a set, and position is whatever they carry.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class RinConfig:
    """Sizes of a Rin. The defaults are those of GRIN's supplement C.

    head_width is that of every attention; the stack of one block has `depth` layers; mlp_ratio is
    hidden width over width; linear_attention lets tokens also exchange among themselves.
    """

    token_width: int = 512
    latent_width: int = 1024
    num_latents: int = 256
    blocks: int = 4
    depth: int = 6
    token_heads: int = 16
    latent_heads: int = 16
    head_width: int = 32
    mlp_ratio: int = 4
    linear_attention: bool = True


class Mlp(nn.Sequential):
    """Pre-norm two-layer perceptron."""

    def __init__(self, width: int, ratio: int) -> None:
        super().__init__(
            nn.LayerNorm(width),
            nn.Linear(width, ratio * width),
            nn.GELU(),
            nn.Linear(ratio * width, width),
        )


def _split_heads(x: Tensor, heads: int) -> Tensor:
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def _attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    if query.device.type != 'cpu':
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    # PyTorch's CPU kernel is several times slower backward in bfloat16 than in float32.
    with torch.autocast('cpu', enabled=False):
        query, key, value = query.float(), key.float(), value.float()
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)


class Attention(nn.Module):
    """Pre-norm softmax attention of x to itself, or to a context of another width."""

    def __init__(
        self, width: int, heads: int, head_width: int, context_width: int | None = None
    ) -> None:
        super().__init__()
        inner = heads * head_width
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.context_norm = None if context_width is None else nn.LayerNorm(context_width)
        self.to_query = nn.Linear(width, inner, bias=False)
        self.to_key_value = nn.Linear(context_width or width, 2 * inner, bias=False)
        self.to_out = nn.Linear(inner, width, bias=False)

    def forward(
        self, x: Tensor, context: Tensor | None = None, readable: Tensor | None = None
    ) -> Tensor:
        """x: (B, N, width); context: (B, M, context_width); readable: (B, M) bool -> like x."""
        x = self.norm(x)
        context = x if context is None or self.context_norm is None else self.context_norm(context)
        key, value = self.to_key_value(context).chunk(2, dim=-1)
        query, key, value = (
            _split_heads(part, self.heads) for part in (self.to_query(x), key, value)
        )
        mask = None if readable is None else readable[:, None, None, :]
        out = _attend(query, key, value, mask)
        return self.to_out(out.transpose(1, 2).flatten(2))


class LinearAttention(nn.Module):
    """Attention among very many tokens at linear cost (Shen et al., Efficient Attention)."""

    def __init__(self, width: int, heads: int, head_width: int) -> None:
        super().__init__()
        inner = heads * head_width
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.to_query_key_value = nn.Linear(width, 3 * inner, bias=False)
        self.to_out = nn.Linear(inner, width, bias=False)

    def forward(self, x: Tensor, readable: Tensor | None = None) -> Tensor:
        """x: (B, N, width); readable: (B, N) bool, tokens that the others may see -> like x."""
        query, key, value = (
            _split_heads(part, self.heads)
            for part in self.to_query_key_value(self.norm(x)).chunk(3, dim=-1)
        )
        if readable is not None:
            key = key.masked_fill(~readable[:, None, :, None], -torch.inf)
        summary = key.softmax(dim=-2).transpose(-2, -1) @ value
        out = (query.softmax(dim=-1) * query.shape[-1] ** -0.5) @ summary
        return self.to_out(out.transpose(1, 2).flatten(2))


class LatentLayer(nn.Module):
    """Self-attention and perceptron on the latents."""

    def __init__(self, config: RinConfig) -> None:
        super().__init__()
        self.attention = Attention(config.latent_width, config.latent_heads, config.head_width)
        self.mlp = Mlp(config.latent_width, config.mlp_ratio)

    def forward(self, latents: Tensor) -> Tensor:
        latents = latents + self.attention(latents)
        return latents + self.mlp(latents)


class RinBlock(nn.Module):
    """Read, compute, write (GRIN Fig. 2a)."""

    def __init__(self, config: RinConfig) -> None:
        super().__init__()
        tokens, latents = config.token_width, config.latent_width
        heads = config.token_heads, config.head_width
        self.read = Attention(latents, *heads, context_width=tokens)
        self.read_mlp = Mlp(latents, config.mlp_ratio)
        self.stack = nn.ModuleList(LatentLayer(config) for _ in range(config.depth))
        self.exchange = LinearAttention(tokens, *heads) if config.linear_attention else None
        self.exchange_mlp = Mlp(tokens, config.mlp_ratio) if config.linear_attention else None
        self.write = Attention(tokens, *heads, context_width=latents)
        self.write_mlp = Mlp(tokens, config.mlp_ratio)

    def forward(
        self, tokens: Tensor, latents: Tensor, readable: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        latents = latents + self.read(latents, tokens, readable)
        latents = latents + self.read_mlp(latents)
        for layer in self.stack:
            latents = layer(latents)
        if self.exchange is not None and self.exchange_mlp is not None:
            tokens = tokens + self.exchange(tokens, readable)
            tokens = tokens + self.exchange_mlp(tokens)
        tokens = tokens + self.write(tokens, latents)
        return tokens + self.write_mlp(tokens), latents


class TimeToken(nn.Module):
    """Diffusion time in [0, 1] as one more latent."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        # Wavelengths from 2 pi to 10000 * 2 pi over a time of 0 to 1000, as in DDPM.
        frequencies = 1000 * torch.exp(-math.log(10000) * torch.arange(half) / half)
        self.register_buffer('frequencies', frequencies, persistent=False)
        self.mlp = nn.Sequential(nn.Linear(2 * half, width), nn.GELU(), nn.Linear(width, width))

    def forward(self, t: Tensor) -> Tensor:
        """t: (B,) -> (B, 1, width)."""
        angles = t[:, None] * self.frequencies
        return self.mlp(torch.cat([angles.sin(), angles.cos()], dim=-1))[:, None]


class Rin(nn.Module):
    """Blocks of reading, computing and writing, with latent self-conditioning."""

    def __init__(self, config: RinConfig) -> None:
        super().__init__()
        width = config.latent_width
        self.latents = nn.Parameter(0.02 * torch.randn(config.num_latents, width))
        self.time_token = TimeToken(width)
        self.previous_mlp = Mlp(width, config.mlp_ratio)
        self.previous_norm = nn.LayerNorm(width)
        # Starts without effect: the first steps learn to denoise, not to trust their own past.
        nn.init.zeros_(self.previous_norm.weight)
        self.blocks = nn.ModuleList(RinBlock(config) for _ in range(config.blocks))

    def forward(
        self,
        tokens: Tensor,
        t: Tensor,
        previous: Tensor | None = None,
        readable: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Update the tokens.

        Args:
            tokens: (B, N, token_width).
            t: (B,) diffusion time, 0 (data) to 1 (noise).
            previous: (B, M, latent_width) latents of the previous step, or None.
            readable: (B, N) bool, at least one per row; tokens the network may read from. The
                others are written to only, so they influence no token but themselves.
        Returns:
            tokens and latents, of the shapes above.
        """
        latents = self.latents.expand(len(tokens), -1, -1)
        if previous is not None:
            latents = latents + self.previous_norm(previous + self.previous_mlp(previous))
        latents = torch.cat([self.time_token(t), latents], dim=1)
        for block in self.blocks:
            tokens, latents = block(tokens, latents, readable)
        return tokens, latents[:, 1:]
