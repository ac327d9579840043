"""Training and distillation losses over parameter pytrees."""
