"""Real data to try a model on, from installed packages or your own files; nothing is downloaded."""

from fanin.data.catalogue import Known, known, load, names
from fanin.data.dataset import Dataset, Samples, Scale
from fanin.data.mnist import mnist

__all__ = ["Dataset", "Known", "Samples", "Scale", "known", "load", "mnist", "names"]
