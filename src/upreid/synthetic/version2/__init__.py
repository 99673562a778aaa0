"""The second generator: crops of surveillance videos, with statistics of real photographs."""
