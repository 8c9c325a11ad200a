"""How are job processes started?"""
