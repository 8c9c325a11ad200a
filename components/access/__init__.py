"""Who may give which command?"""
