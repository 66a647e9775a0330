"""From observation to durable outcome."""
