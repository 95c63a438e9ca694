"""The component that a defs.yaml names."""

from cdp_assets.components.crm import OutsideSystem
from cdp_assets.connectors.systems import System
from pipeline.client import MAPPINGS, PipelineClient
from pipeline.config import PipelineConfig


class Pipeline(OutsideSystem):
    """Pipeline: its contacts as raw assets by day, and a destination of syncs."""

    config_model = PipelineConfig
    system = "pipeline"
    outside = System(PipelineConfig, PipelineClient, MAPPINGS, ("contacts", "title"))
