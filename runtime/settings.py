"""One frozen tree of settings: flag > ``CITYCARD_*`` > ``citycard.toml`` > default. Nobody else reads those."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)


class Settings(BaseSettings):
    """Where the city lives and whom it talks to.

    Attributes
    ----------
    data : folder of this installation; the database, journals and pictures lie below it.
    database_url : SQLAlchemy URL; empty means ``city.db`` in the data folder.
    api_host, api_port : where screens and API listen.
    vpcd_base_port : first TCP port of the private pcscd's virtual slots; below 32768, or the kernel may
        have lent it to somebody (pcsc-and-serial.md 3.4).
    purse_limit_fen : the most a purse may hold (purse-card.md 17).
    hsm : HOST:PORT of the HSM that keeps the registers' personal data; empty: none, and nobody's name, number,
        address or telephone can be read or written here.
    hsm_certificates, hsm_slots : the folder with ``data.pem`` and ``data.key`` (role DATA), and the key directory.
    """

    model_config = SettingsConfigDict(
        env_prefix="CITYCARD_", toml_file="citycard.toml", frozen=True, extra="ignore"
    )

    data: Path = Path("citycard-data")
    database_url: str = ""
    api_host: str = "127.0.0.1"
    api_port: int = Field(default=8080, ge=0, le=65535)
    vpcd_base_port: int = Field(default=21000, ge=1024, le=32000)
    purse_limit_fen: int = Field(default=100_000, ge=1)
    hsm: str = Field(default="", pattern=r"^$|^.+:\d{1,5}$")
    hsm_certificates: Path = Path("certificates")
    hsm_slots: Path = Path("hsm/slots.json")
    log_level: str = "WARNING"

    @property
    def database(self) -> str:
        """The database's URL."""
        return self.database_url or f"sqlite:///{self.data / 'city.db'}"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        del dotenv_settings, file_secret_settings
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)
