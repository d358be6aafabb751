"""The LP of a search as one array of bytes, for workers that share no disk.

joblib hands a large array to the processes of one machine through shared memory, and Dask sends it to a worker once.
"""

from __future__ import annotations

import pickle

import numpy as np

from tritier.hybrid_pool import build
from tritier.joint import JointLP


def pack(joint: JointLP) -> np.ndarray:
    """Instance, whether the market sees the network, and the bare LP, as bytes."""
    return np.frombuffer(pickle.dumps((joint.instance, joint.sees_network, joint.bare)), dtype=np.uint8)


def unpack(packed: np.ndarray) -> JointLP:
    """The LP without chance blocks and without tangents but the first."""
    return build(*pickle.loads(packed.tobytes()), [])
