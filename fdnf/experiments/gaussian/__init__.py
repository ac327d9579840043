"""A study of Gaussian teachers, whose distillation has a closed form."""
