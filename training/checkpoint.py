"""Weights to and from a plain `.npz`; no pickle, so a bundle from outside cannot run code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from training.model import PolicyNetwork


def save_weights(network: PolicyNetwork, path: Path) -> None:
    """Every parameter and buffer under its own name."""
    arrays = {name: value.detach().cpu().numpy() for name, value in network.state_dict().items()}
    np.savez(path, **arrays)  # type: ignore[arg-type]


def load_weights(network: PolicyNetwork, path: Path) -> None:
    """Put saved weights into a network of the same shape.

    Raises:
        ValueError: naming what is missing, unknown or of another shape.
    """
    with np.load(path, allow_pickle=False) as saved:
        state = {name: torch.from_numpy(saved[name]) for name in saved.files}
    own = network.state_dict()
    wrong = [name for name in own if name not in state or state[name].shape != own[name].shape]
    wrong += [name for name in state if name not in own]
    if wrong:
        raise ValueError(f"{path.name} holds the weights of another network; first difference: {sorted(wrong)[0]}")
    network.load_state_dict(state)
