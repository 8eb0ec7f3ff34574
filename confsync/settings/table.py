"""What all tables of the settings share."""

from pydantic import BaseModel, ConfigDict


class Table(BaseModel):
    """Unknown keys are faults, values never change, errors show no value."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False
    )
