"""What a hostile neighbour costs everybody else: attacks on a server of its own, beside a customer who is measured.

python -m loadtests.hostile [--server uvicorn] [--seconds 20] [--pairs 3] [ATTACK ...]      each attack in turn; exit code 1 where a bound broke
python -m loadtests.hostile soak [--server uvicorn] [--minutes 30]              all at once, for long: leaks, wrong answers
"""
