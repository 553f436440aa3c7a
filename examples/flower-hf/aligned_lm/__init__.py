"""A Flower app that trains a mixture of experts of transformers."""
