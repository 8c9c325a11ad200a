"""What do the participants say to each other? The words that server, sites and admins share."""
