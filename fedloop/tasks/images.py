"""Images to be classified."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from fedloop.config import Config
from fedloop.errors import ConfigError
from fedloop.tasks.base import Partition
from fedloop.tasks.data import load_dataset, pooled, split
from fedloop.tasks.partition import deal
from fedloop.tasks.partitioned import deal_partitions, is_partitioned
from fedloop.tasks.readers import Dataset


class ImageClassification:
    """Cross entropy and accuracy; see `fedloop.tasks.base.Task`."""

    def load(self, config: Config) -> Dataset:
        """Return the images, averaged over squares of pixels where asked."""
        data = load_dataset(config.data.name, config.data.dir)
        return Dataset(pooled(data.image, config.data.pool), data.label, data.name, data.sha256)

    def deal(self, data: Dataset, config: Config) -> Partition:
        """Give every client images of training and held-out ones like them."""
        if is_partitioned(data):
            return deal_partitions(data, config)
        if config.partition.kind == "domains":
            raise ConfigError("partition.kind is domains, which is for text; images are dealt out "
                              "by rotation, permuted-labels, dirichlet and others")
        chosen = split(len(data.label), config.data.test_fraction,
                       np.random.default_rng(config.seed), config.data.limit)
        return deal(data, *chosen, config.partition, config.seed)

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Return every image's cross entropy in nats."""
        # A softmax over an axis that is not the last is several times faster for few classes.
        logit_CB = output.T.contiguous()
        return F.cross_entropy(logit_CB[None], target[None], reduction="none")[0]

    def accuracy(self, output: Tensor, target: Tensor) -> Tensor:
        """Return 1 where the largest logit is the label's, else 0."""
        logit_CB = output.T.contiguous()
        return (logit_CB.gather(0, target[None])[0] == logit_CB.amax(dim=0)).float()

    def metrics(self, loss: np.ndarray, loss_all: np.ndarray) -> Mapping[str, float]:
        """Return nothing more."""
        return {}
