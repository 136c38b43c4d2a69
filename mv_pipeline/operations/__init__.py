"""Trouble told to people: what is wrong now, one message when it begins and one when it is over."""
