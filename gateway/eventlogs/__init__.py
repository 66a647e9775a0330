"""Front stores, one file each."""
