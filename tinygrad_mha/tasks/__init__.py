"""What runs the main job: text, a model of its characters, training."""
