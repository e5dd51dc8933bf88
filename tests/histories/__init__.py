"""Histories of workflows as they once ran: what runs today must still be able to take them over."""
