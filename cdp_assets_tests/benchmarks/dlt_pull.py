"""The pull by dlt's rest_api source, run by an interpreter that has dlt: URL FOLDER."""

from __future__ import annotations

import sys

import dlt
from dlt.sources.rest_api import rest_api_source


def main(url: str, folder: str) -> None:
    source = rest_api_source(
        {
            "client": {
                "base_url": url,
                "paginator": {"type": "json_link", "next_url_path": "nextRecordsUrl"},
            },
            "resources": [
                {
                    "name": "contact",
                    "max_table_nesting": 0,
                    "endpoint": {
                        "path": "/services/data/v62.0/queryAll",
                        "data_selector": "records",
                    },
                }
            ],
        }
    )
    pipeline = dlt.pipeline(
        "pull",
        pipelines_dir=f"{folder}/state",
        destination=dlt.destinations.filesystem(bucket_url=f"file://{folder}/out"),
        dataset_name="d",
    )
    pipeline.run(source, loader_file_format="parquet")
    print(pipeline.last_trace.last_normalize_info.row_counts["contact"])


if __name__ == "__main__":
    main(*sys.argv[1:])
