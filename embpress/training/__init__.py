"""Fine-tuning and distillation of dense and compressed models."""
