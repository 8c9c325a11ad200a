"""Where do metrics go, and how do they get there?"""
