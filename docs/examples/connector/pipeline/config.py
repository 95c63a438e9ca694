"""What `type: pipeline.Pipeline` may say."""

from pydantic import Field, SecretStr

from cdp_assets.connectors.config import CrmConfig


class PipelineConfig(CrmConfig):
    """A Pipeline account, entered with an API key."""

    key: SecretStr = Field(description="API key of a user who may read and write contacts.")
