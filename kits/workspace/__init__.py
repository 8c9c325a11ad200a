"""What lies in a participant's folder: kit, lock, journals, blobs, jobs, logs; and how is each of them written safely?"""
