"""What watches a run and notes what it sees?"""
