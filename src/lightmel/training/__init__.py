"""Making taggers: the loop, damage for the sound, distillation, and the report on what came out."""
