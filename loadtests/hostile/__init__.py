"""What a hostile neighbour costs everybody else: attacks on a server of its own, beside a customer who is measured.

python -m loadtests.hostile [--server uvicorn] [--seconds 20] [--pairs 3] [ATTACK ...]    in turn; exit code 1 where a bound broke
python -m loadtests.hostile soak [--server uvicorn] [--minutes 30]                          three at once: leaks, wrong answers
"""
