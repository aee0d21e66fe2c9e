"""The container of each format: its size, frames and orientation, and the parts that hold the first frame's pixels."""
