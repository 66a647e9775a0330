"""Files of events, people, orders and consents, brought in through the door."""
