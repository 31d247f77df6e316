"""The main job on a real node: sets applied, flow runs started, what they see."""
