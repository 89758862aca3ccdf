"""The exercises, a module for each chapter: chNN.py holds EXERCISES, a tuple of tutorials.exercise.Exercise."""
