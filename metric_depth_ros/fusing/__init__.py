"""A recording to a map: what `metric-depth fuse` does, above mapping and evaluation."""
