"""The segmenter: from admitted events to audiences."""
