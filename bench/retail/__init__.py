"""The main job on real retail data: what ``make demo`` runs.

data.py reads the data set; statements.py holds the SQL; stream.py writes while another connection reads; model.py
trains and scores; story.py prints. ``bench/demo.py`` is the order of events.
"""
