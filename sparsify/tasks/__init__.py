"""Training tasks: data, model, trainer and metrics of each kind of model that the commands can train."""
