"""Studies: the backbones and the recipe of one published table each. One file a table, no torch."""

from jobs.studies.registry import get, names, read
from jobs.studies.study import Study, StudyRow

__all__ = ["Study", "StudyRow", "get", "names", "read"]
