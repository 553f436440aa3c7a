"""Which task data are for."""

from __future__ import annotations

from typing import Any

from fedloop.config import Config
from fedloop.errors import DataError
from fedloop.tasks.base import Task
from fedloop.tasks.images import ImageClassification
from fedloop.tasks.partitioned import is_partitioned
from fedloop.tasks.readers import Dataset
from fedloop.tasks.text import LanguageModelling, Text

#: Names of data that are text.
TEXTS = ("text", "text-folder")


def task_of(config: Config, data: Any) -> Task:
    """Return the task of data, or of the data that settings name.

    Raises
    ------
    DataError
        If the data are of no kind that is known.
    """
    if data is None:
        return LanguageModelling() if config.data.name in TEXTS else ImageClassification()
    if isinstance(data, Text):
        return LanguageModelling()
    if isinstance(data, Dataset) or is_partitioned(data):
        return ImageClassification()
    raise DataError(f"data is {type(data).__name__}; give fedloop.tasks.readers.Dataset, "
                    "fedloop.tasks.text.Text, or a dataset partitioned by flwr-datasets")
