from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from metric_depth_ros.nn.rin import Attention, LinearAttention, Rin, RinConfig

TINY = RinConfig(
    token_width=16, latent_width=24, num_latents=5, blocks=2, depth=2, token_heads=2,
    latent_heads=3, head_width=8, mlp_ratio=2, linear_attention=True,
)  # fmt: skip


@pytest.fixture
def tokens() -> torch.Tensor:
    return torch.randn(2, 11, 16, generator=torch.Generator().manual_seed(1))


def rin(config: RinConfig = TINY) -> Rin:
    torch.manual_seed(0)
    network = Rin(config).eval()
    torch.nn.init.ones_(network.previous_norm.weight)  # so that `previous` has an effect
    return network


T = torch.tensor([0.2, 0.9])


@torch.no_grad()
def test_shapes_and_self_conditioning(tokens: torch.Tensor) -> None:
    network = rin()
    out, latents = network(tokens, T)
    assert out.shape == tokens.shape
    assert latents.shape == (2, 5, 24)
    again, _ = network(tokens, T, latents)
    assert not torch.allclose(again, out)


@torch.no_grad()
def test_tokens_are_a_set(tokens: torch.Tensor) -> None:
    network = rin()
    order = torch.randperm(11, generator=torch.Generator().manual_seed(2))
    readable = torch.rand(2, 11, generator=torch.Generator().manual_seed(3)) < 0.7
    out, latents = network(tokens, T, None, readable)
    permuted, permuted_latents = network(tokens[:, order], T, None, readable[:, order])
    torch.testing.assert_close(permuted, out[:, order], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(permuted_latents, latents, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize('linear_attention', [True, False])
@torch.no_grad()
def test_unreadable_tokens_influence_none_but_themselves(
    tokens: torch.Tensor, linear_attention: bool
) -> None:
    network = rin(replace(TINY, linear_attention=linear_attention))
    readable = torch.arange(11).expand(2, -1) < 7
    out, latents = network(tokens, T, None, readable)
    without, without_latents = network(tokens[:, :7], T)
    torch.testing.assert_close(out[:, :7], without, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(latents, without_latents, atol=1e-5, rtol=1e-5)
    one, _ = network(tokens[:, :9], T, None, readable[:, :9])
    torch.testing.assert_close(out[:, 8], one[:, 8], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_time_and_batch(tokens: torch.Tensor) -> None:
    network = rin()
    out, _ = network(tokens, T)
    single, _ = network(tokens[1:], T[1:])
    torch.testing.assert_close(single, out[1:], atol=1e-5, rtol=1e-5)
    later, _ = network(tokens, T + 0.05)
    assert not torch.allclose(later, out)


@torch.no_grad()
def test_attention_against_its_formula() -> None:
    torch.manual_seed(0)
    attention = Attention(6, heads=1, head_width=4, context_width=8)
    x, context = torch.randn(1, 3, 6), torch.randn(1, 5, 8)
    key, value = attention.to_key_value(attention.context_norm(context)).chunk(2, -1)
    weights = (attention.to_query(attention.norm(x)) @ key.mT / 4**0.5).softmax(-1)
    torch.testing.assert_close(attention(x, context), attention.to_out(weights @ value))


@torch.no_grad()
def test_linear_attention_is_a_double_softmax() -> None:
    torch.manual_seed(0)
    attention = LinearAttention(6, heads=1, head_width=4)
    x = torch.randn(1, 5, 6)
    query, key, value = attention.to_query_key_value(attention.norm(x)).chunk(3, -1)
    weights = query.softmax(-1) / 2 @ key.softmax(-2).mT  # (5, 5), never made by the module
    torch.testing.assert_close(attention(x), attention.to_out(weights @ value))
