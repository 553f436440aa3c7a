"""Which task data are for."""

from __future__ import annotations

from typing import Any

from fedloop.config import Config
from fedloop.tasks.base import Task
from fedloop.tasks.images import ImageClassification


def task_of(config: Config, data: Any) -> Task:
    """Return the task of data, or of the data that settings name."""
    return ImageClassification()
