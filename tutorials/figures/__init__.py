"""The pictures of the book, a module for each chapter: chNN.py holds FIGURES, the functions that draw them, by the name of the file."""
