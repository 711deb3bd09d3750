"""Real data to try a model on, from installed packages; nothing is downloaded."""

from fanin.data.mnist import Digits, Mnist, mnist

__all__ = ["Digits", "Mnist", "mnist"]
