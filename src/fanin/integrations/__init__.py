"""Audit and check before the first step of others' trainers: `lightning.StartCheck`, `transformers.StartCheck`."""
