"""Whatever others write, no reader of ours raises anything but its own errors."""
