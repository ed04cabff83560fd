"""Column schemas for the UI."""

from __future__ import annotations

import dagster as dg
import polars as pl


def column_schema(schema: pl.Schema) -> dg.TableSchema:
    """The columns of a frame, as the UI shows them."""
    return dg.TableSchema([dg.TableColumn(name, str(dtype)) for name, dtype in schema.items()])
