"""What :mod:`sweep_models` compares."""
