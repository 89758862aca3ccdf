"""Recurrent networks to read, run and copy, and the tasks that train them; from a clone: `python -m models.char_lm`."""
