"""What issue 4 promises, tried: kills, forks, full disks, damaged files, and a million events.

pytest tests/reliability                   every campaign, short: with all other tests
python -m tests.reliability                the same, and the figures of each campaign
python -m tests.reliability --full         100 kills, 320,000 events from 8 processes, a lock of 30 s …
python -m tests.reliability --full killed  one of them: what follows goes to pytest's -k
"""
