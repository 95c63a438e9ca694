"""A connector for Pipeline, a small CRM: the example of docs/connectors.md."""

from pipeline.component import Pipeline

__all__ = ["Pipeline"]
