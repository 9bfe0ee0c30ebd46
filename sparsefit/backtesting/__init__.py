"""Compare forecasts on checkpoints that they have not seen."""
